"""What a suite may set of a transformers model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


class HfOptions(BaseModel):
    """What a suite may set. Dropout is the config's own (0.1 in GPT-2's, 0 in most others).

    Attributes:
        model: name on the hub, also with a revision (``EleutherAI/pythia-160m@step1000``), or a folder, relative
            to the suite or the data directory. Says only where: the content is hashed.
        revision: branch, tag or commit on the hub; None is ``main``.
        pretrained: whether the network starts from the model's weights, whatever the seed; if False it starts
            from random ones, in the way of transformers.
        config: entries that override those of the model's config. Without ``model`` the whole config, with
            ``model_type``, the vocabulary's size being the data's unless it is given.
        dtype: type of the weights.
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, json_schema_extra={"hashed": False, "file": ""})
    revision: str | None = Field(default=None, json_schema_extra={"hashed": False})
    pretrained: bool = True
    config: dict[str, JsonValue] = {}
    dtype: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="before")
    @classmethod
    def _revision_after_the_name(cls, given: Any) -> Any:
        model = given.get("model") if isinstance(given, dict) else None
        if not isinstance(model, str) or "@" not in model or model.startswith(("/", ".", "~")):
            return given
        name, _, revision = model.partition("@")
        if given.get("revision") not in (None, revision):
            raise ValueError(f"model '{model}' and revision '{given['revision']}' name two revisions: give one")
        return {**given, "model": name, "revision": revision}

    @model_validator(mode="after")
    def _something_to_build(self) -> HfOptions:
        if self.model is None and "model_type" not in self.config:
            raise ValueError("give model, a hub name or a folder, or config with a model_type, such as gpt2")
        if self.model is None and "pretrained" in self.model_fields_set and self.pretrained:
            raise ValueError("pretrained needs a model to take the weights from; without one leave it out")
        return self
