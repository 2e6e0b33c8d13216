"""Models in folders and in the hub's cache: their weights, what they are known by, and that none of their code runs."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import CorruptFile, DataMissing, DataSpec, UserError

pytest.importorskip("transformers", reason="transformers is not installed")


from tiny_hf import COMMIT, CONTEXT, DATA, GPT2, VOCABULARY, WIDTH, hf, in_hub

from harness_transformers.architecture import Hf
from harness_transformers.hub import fetch
from harness_transformers.network import HfNetwork
from harness_transformers.options import HfOptions


def test_weights_of_a_folder_are_the_initial_weights_of_every_seed(saved: tuple[Path, HfNetwork]) -> None:
    _, network = saved
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    for seed in (1, 2):
        torch.manual_seed(seed)
        loaded = hf({}, model="tiny").build()
        assert loaded.training
        assert torch.equal(loaded.eval()(inputs), network(inputs))
    assert hf({}, model="tiny", dtype="bf16").build().head_weight.dtype == torch.bfloat16
    fresh = hf({}, model="tiny", pretrained=False).build().eval()
    assert fresh.model.config.n_embd == WIDTH
    assert not torch.equal(fresh(inputs), network(inputs))


def test_weights_in_several_files(saved: tuple[Path, HfNetwork], tmp_path: Path) -> None:
    network = saved[1]
    network.model.save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 1
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    assert torch.equal(hf({}, model="sharded").build().eval()(inputs), network(inputs))
    shards[0].unlink()
    with pytest.raises(DataMissing, match=f"lacks {shards[0].name}"):
        hf({}, model="sharded").build()


def test_revision_from_the_hubs_cache(saved: tuple[Path, HfNetwork]) -> None:
    folder, network = saved
    in_hub(folder, "step1000")
    options = HfOptions(model="owner/tiny@step1000")
    assert (options.model, options.revision) == ("owner/tiny", "step1000")
    assert options == HfOptions(model="owner/tiny", revision="step1000") == HfOptions(model="owner/tiny@step1000")
    assert Hf.content(options) == f"commit:{COMMIT}"
    assert Hf.content(HfOptions(model="owner/tiny", revision=COMMIT)) == f"commit:{COMMIT}"
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    assert torch.equal(Hf(options, DATA).build().eval()(inputs), network(inputs))
    with pytest.raises(DataMissing, match=r"owner/tiny is not in .*hub; .*`hf download owner/tiny --include"):
        Hf.content(HfOptions(model="owner/tiny"))


def test_content_is_what_counts(saved: tuple[Path, HfNetwork], tmp_path: Path) -> None:
    folder, network = saved

    def content(**options: Any) -> str | None:
        return Hf.content(HfOptions(**options))

    first, random = content(model="tiny"), content(model="tiny", pretrained=False)
    assert content(config=GPT2) is None
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("a copy")
    assert content(model=str(tmp_path / "copy")) == first != random
    with torch.no_grad():
        network.head_weight[0, 0] += 1
    network.model.save_pretrained(folder)
    assert content(model="tiny") != first
    assert content(model="tiny", pretrained=False) == random
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("gelu_new", "relu"))
    assert content(model="tiny", pretrained=False) != random


def test_missing_models_are_reported_at_once() -> None:
    start = time.perf_counter()
    text = (
        r"EleutherAI/pythia-160m@step1000 is not in .*hf download EleutherAI/pythia-160m --revision step1000 .*HF_HOME"
    )
    options = HfOptions(model="EleutherAI/pythia-160m@step1000")
    for ask in (lambda: Hf.content(options), Hf(options, DATA).connections, Hf(options, DATA).build):
        with pytest.raises(DataMissing, match=text):
            ask()
    assert time.perf_counter() - start < 1
    with pytest.raises(DataMissing, match="no_such does not exist"):
        Hf.content(HfOptions(model="./no_such"))


def test_fetch_without_network_says_what_to_check() -> None:
    with pytest.raises(
        DataMissing, match=r"cannot download owner/tiny@main \(.*the network was used\).*HF_HUB_OFFLINE"
    ):
        fetch("owner/tiny", "main")


def test_pickled_weights_are_refused(saved: tuple[Path, HfNetwork]) -> None:
    folder, network = saved
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataMissing, match=r"lacks model\.safetensors"):
        hf({}, model="tiny").build()
    torch.save(network.model.state_dict(), folder / "pytorch_model.bin")
    for ask in (lambda: Hf.content(HfOptions(model="tiny")), hf({}, model="tiny").build):
        with pytest.raises(UserError, match=r"pickled weights only \(pytorch_model.bin\).*can run code"):
            ask()
    assert hf({}, model="tiny", pretrained=False).build().vocabulary == VOCABULARY


CODE = """
from pathlib import Path

from transformers import GPT2Config, GPT2LMHeadModel

Path(r"{witness}").write_text("the folder's code ran")


class Own(GPT2Config):
    model_type = "{model_type}"


class OwnModel(GPT2LMHeadModel):
    config_class = Own
"""


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("model_type", ["own_type", "gpt2", "vit"])
def test_code_of_a_folder_never_runs(
    saved: tuple[Path, HfNetwork], monkeypatch: pytest.MonkeyPatch, model_type: str, pretrained: bool
) -> None:
    """Whatever is answered on the terminal; of a known type the library's own model is taken, as in the first place."""
    folder, network = saved
    witness = folder.parent / "witness"
    (folder / "own.py").write_text(CODE.format(witness=witness, model_type=model_type))
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel", "AutoModel": "own.OwnModel"}
    config |= {"model_type": model_type, "auto_map": code}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    if model_type == "gpt2":
        built = hf({}, model="tiny", pretrained=pretrained).build()
        assert type(built.model) is type(network.model)
    else:
        with pytest.raises(UserError, match=r"code of its own, which the harness never runs|hf: transformers refuses"):
            hf({}, model="tiny", pretrained=pretrained).build()
    assert not witness.exists()
    # The same by way of the suite's own entries.
    with pytest.raises(UserError):
        hf({"model_type": model_type, "auto_map": code, "architectures": ["OwnModel"], "no_such": 1}).build()
    assert not witness.exists()


def test_kernels_of_the_hub_never_run(saved: tuple[Path, HfNetwork]) -> None:
    text = "attn_implementation 'kernels-community/own' is code on the hub, which is never run"
    with pytest.raises(UserError, match=text):
        hf({**GPT2, "_attn_implementation": "kernels-community/own"}).connections()
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": "kernels-community/own"}))
    for pretrained in (True, False):
        with pytest.raises(UserError, match=text):
            hf({}, model="tiny", pretrained=pretrained).build()


def test_every_way_into_the_library_refuses_code() -> None:
    """Also those that today's library does not ask about: each call says so itself."""
    from harness_transformers import loading

    source = Path(loading.__file__).read_text()
    calls = re.findall(r"\.(?:from_pretrained|from_config)\((.*?)\)\n", source, re.DOTALL)
    assert len(calls) == 4
    assert all("trust_remote_code=False" in call or "**FROM_HERE" in call for call in calls)
    assert loading.FROM_HERE["trust_remote_code"] is False


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_embd": 32}, r"do not fit the config, of another shape: .*transformer\.h\.0.* and \d+ more"),
        ({"n_layer": 3}, r"do not fit the config, missing: transformer\.h\.2\.attn\.c_attn"),
        ({"n_layer": 1}, r"do not fit the config, not in the model: transformer\.h\.1\.attn\.c_attn"),
        ({"n_layr": 3}, r"config of gpt2 has no n_layr\. Known: .*n_layer"),
        ({"model_type": "llama"}, "model_type gpt2, not llama"),
    ],
)
def test_weights_must_fit_the_config(saved: tuple[Path, HfNetwork], config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        hf(config, model="tiny").build()


def test_damaged_weights(saved: tuple[Path, HfNetwork]) -> None:
    weights = saved[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match=r"model\.safetensors cannot be read"):
        hf({}, model="tiny").build()


def test_a_model_with_tokens_of_its_own_reads_no_bytes(saved: tuple[Path, HfNetwork]) -> None:
    data = DataSpec("language", (8,), 30, 10, 8, tokenizer="bytes")
    assert hf({}, data, model="tiny").unsupported() is None
    (saved[0] / "tokenizer.json").write_text("{}")
    reason = hf({}, data, model="tiny").unsupported()
    assert reason and reason.startswith("has a vocabulary of 32 tokens of its own (") and "tokenizer.json`" in reason
    same = DataSpec("language", (8,), 32, 10, 8, tokenizer="bytes")
    assert hf({}, same, model="tiny").unsupported() is None
    assert hf({}, data, model="tiny", pretrained=False).unsupported() is None


def test_a_folder_has_no_revision(saved: tuple[Path, HfNetwork]) -> None:
    with pytest.raises(UserError, match="is a folder and has no revision 'main'"):
        Hf.content(HfOptions(model="tiny", revision="main"))
