"""Networks from elsewhere: one folder with weights, masks and what they belong to.

Layout, the same for what is imported and for what is exported::

    model.safetensors     effective weights under the names of the network's own state_dict, tied ones once
    masks.safetensors     optional: connection -> bool tensor of the connection's shape
    method.safetensors    optional: a method's own tensors, nested names joined by dots ("genome.affinity")
    import.json           last: what they are, and the SHA-256 of each of these files
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from harness.core.data import DataSpec
from harness.errors import CorruptFile, DataMissing, UserError, unknown_name
from harness.storage.atomic_files import storage_error
from harness.storage.data_directory import data_directory
from harness.storage.reading import read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.core.masks import Masks

FORMAT: Literal[1] = 1
WEIGHTS, MASKS, METHOD = CONTENT = ("model.safetensors", "masks.safetensors", "method.safetensors")
MANIFEST = "import.json"


class Described(BaseModel):
    """Base of what ``import.json`` says: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Plug(Described):
    """A plugin with its options, as a suite would name them."""

    plugin: str
    options: dict[str, Any] = {}


class Data(Described):
    """What the network reads and writes, in the words of :class:`harness.DataSpec`."""

    kind: str
    inputs: tuple[int, ...]
    outputs: int
    tokenizer: str = ""
    vocabulary: int = 0
    padding: int = 0

    @classmethod
    def of(cls, spec: DataSpec) -> Data:
        """What a network for such data reads and writes."""
        return cls(**{name: getattr(spec, name) for name in cls.model_fields})

    @property
    def spec(self) -> DataSpec:
        """For one example of it."""
        return DataSpec(examples=1, **dict(self))


class Origin(Described):
    """Who made the folder from what; ``sha256`` names the source's content (of an export: its last stage)."""

    importer: str
    path: str
    sha256: str


class Manifest(Described):
    """The content of ``import.json``; ``digest`` is over ``files``, the SHA-256 of each content file."""

    format: Literal[1] = FORMAT
    architecture: Plug | None = None
    data: Data | None = None
    method: Plug | None = None
    source: Origin
    created_by: str
    files: dict[str, str]
    digest: str

    @field_validator("files")
    @classmethod
    def _known(cls, files: dict[str, str]) -> dict[str, str]:
        """Names of content files only: what is read lies in the folder."""
        if unknown := set(files) - set(CONTENT):
            raise ValueError(f"{', '.join(sorted(unknown))} is no content file; these are: {', '.join(CONTENT)}")
        return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a folder holds, before it is written.

    Attributes:
        architecture, data: the network to build and what it reads and writes; None for a method's tensors alone.
        method: the method under which it is to be evaluated, or None for a dense network.
        weights: effective weights under the names of the network's own ``state_dict``, tied ones once.
        masks: connection -> bool tensor; True means kept.
        method_tensors: a method's own tensors, nested names joined by dots.
        notes: what whoever imports it must know, one sentence each.
        suite: keys of a suite that evaluates it, besides the architecture: benchmarks above all, scope, methods.
    """

    architecture: Plug | None = None
    data: Data | None = None
    method: Plug | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    method_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Sequence[str] = ()
    suite: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported or exported folder; tensors are read, and checked, when they are asked for.

    Attributes:
        path: the folder.
        manifest: what ``import.json`` says.
    """

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """SHA-256 that names the content: all weights, masks and method tensors."""
        return self.manifest.digest

    def weights(self) -> dict[str, Tensor]:
        """Effective weights, on the CPU, under the names of the network's own ``state_dict``.

        Raises:
            CorruptFile: if the file is not what it was when the folder was written.
            UserError: if the folder holds no weights.
        """
        return self._tensors(WEIGHTS, "weights")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the weights, by name; reads the file's beginning only.

        Raises:
            CorruptFile: if that is damaged.
            UserError: if the folder holds no weights.
        """
        from safetensors import SafetensorError, safe_open

        path = self._file(WEIGHTS, "weights")
        try:
            with safe_open(path, framework="np") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CorruptFile(f"{path} cannot be read: {error}. Import it again.") from error

    def masks(self) -> Masks | None:
        """The masks beside the weights, or None if there are none.

        Raises:
            CorruptFile: if the file is not what it was when the folder was written.
        """
        from harness.core.masks import Masks

        return Masks(self._tensors(MASKS, "masks")) if MASKS in self.manifest.files else None

    def method_tensors(self) -> dict[str, Tensor]:
        """The method's own tensors.

        Raises:
            CorruptFile: if the file is not what it was when the folder was written.
            UserError: if the folder holds none.
        """
        return self._tensors(METHOD, "tensors of a method")

    def _tensors(self, name: str, what: str) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._file(name, what)
        try:
            if file_sha256(path) != self.manifest.files[name]:
                raise CorruptFile(f"{path} is damaged: its checksum is not the one in {MANIFEST}. Import it again.")
            # Copies: what safetensors gives are windows into the file, and files change.
            return {key: tensor.clone() for key, tensor in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise CorruptFile(f"{path} cannot be read: {error}. Import it again.") from error

    def _file(self, name: str, what: str) -> Path:
        if name not in self.manifest.files:
            held = ", ".join(self.manifest.files)
            raise UserError(f"{self.path} holds no {what}, only {held}: name a folder that has {name}")
        return self.path / name


def models_directory() -> Path:
    """Where ``harness import`` puts what it reads: ``models`` under the data folder."""
    return data_directory() / "models"


def resolve(name: str | Path) -> Path:
    """The folder that a suite means: a name below :func:`models_directory`, else a path below the data directory.

    Raises:
        DataMissing: if there is neither; names what is there.
    """
    path = data_directory() / Path(name).expanduser()
    for folder in (models_directory() / name, path):
        if (folder / MANIFEST).is_file():
            return folder
    if path.is_dir():
        raise UserError(f"{name} is a folder without {MANIFEST}: bring it in with 'harness import IMPORTER {name}'")
    known = [path.parent.name for path in models_directory().glob(f"*/{MANIFEST}")]
    raise DataMissing(
        f"{unknown_name('imported model', str(name), known)} (in {models_directory()}) "
        f"Bring one in with 'harness import', or give the path of a folder with {MANIFEST}: 'harness export' writes it "
        "without --compact and --format."
    )


def read(path: str | Path) -> Imported:
    """A folder by name or path; reads ``import.json`` only.

    Raises:
        DataMissing: if there is no such folder.
        CorruptFile: if ``import.json`` is not what a harness wrote.
    """
    folder = resolve(path)
    try:
        manifest = Manifest.model_validate(read_json(folder / MANIFEST), strict=False)
    except (OSError, ValidationError, CorruptFile) as error:
        raise CorruptFile(f"{folder / MANIFEST} cannot be used: {error}. Import it again.") from error
    if manifest.digest != _digest(manifest.files):
        raise CorruptFile(f"{folder / MANIFEST} is damaged: its digest does not match its files. Import it again.")
    return Imported(folder, manifest)


def write(path: Path, bundle: Bundle, source: Origin, extra: Mapping[str, str] | None = None) -> Imported:
    """Write a folder, whole or not at all; ``extra`` is text files to put beside the content, by name.

    Raises:
        UserError: if the folder is there already.
        StorageError: if it cannot be written; nothing is left behind.
    """
    from harness.version import __version__

    contents = dict(zip(CONTENT, (bundle.weights, bundle.masks, bundle.method_tensors), strict=True))
    with new_folder(path) as folder:
        files = {name: save_tensors(folder / name, tensors) for name, tensors in contents.items() if tensors}
        manifest = Manifest(
            architecture=bundle.architecture,
            data=bundle.data,
            method=bundle.method,
            source=source,
            created_by=f"harness {__version__}",
            files=files,
            digest=_digest(files),
        )
        for name, text in {**(extra or {}), MANIFEST: manifest.model_dump_json(indent=2) + "\n"}.items():
            (folder / name).write_text(text, encoding="utf8")
    return Imported(path, manifest)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that is renamed to it at the end, so that it is there whole or not at all.

    Raises:
        UserError: if ``path`` is there already.
        StorageError: if it cannot be written; nothing is left behind.
    """
    if path.exists():
        raise UserError(f"{path} is there already: choose another name, or remove it first")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        folder = temporary / path.name  # with the usual permissions, which a temporary folder does not have
        folder.mkdir()
        yield folder
        usual = folder.stat().st_mode & 0o666
        for file in folder.rglob("*"):  # libraries make files of weights that nobody else may read
            if file.is_file():
                file.chmod(usual)
        folder.rename(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write one safetensors file, with texts in its head, and flush it to the disk; returns its SHA-256.

    Raises:
        OSError: if it cannot be written; within :func:`new_folder` that is a StorageError.
    """
    from harness.storage.tensor_files import write_tensors

    whole = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    write_tensors(path, whole, {"format": "pt", **(metadata or {})})
    with path.open("rb") as written:
        os.fsync(written.fileno())
    return file_sha256(path)


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's ``state_dict`` with tied parameters once, under their first name."""
    first = {name for name, _ in module.named_parameters()}
    tied = {name for name, _ in module.named_parameters(remove_duplicate=False)} - first
    return {name: tensor for name, tensor in module.state_dict().items() if name not in tied}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content; of a folder, over the names and contents of all files below it."""
    if path.is_dir():
        inner = sorted(file for file in path.rglob("*") if file.is_file())
        return _digest({file.relative_to(path).as_posix(): file_sha256(file) for file in inner})
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(files: Mapping[Any, str]) -> str:
    return hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode()).hexdigest()
