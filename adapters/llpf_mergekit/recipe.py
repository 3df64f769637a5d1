"""A recipe of mergekit as its YAML file has it, and what mergekit is given in its place."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llpf_plugin.documents import read_yaml, shortened
from llpf_plugin.errors import SpecificationError
from llpf_plugin.tasks import explained, nearest

ALIGNED, SPHERE = "llpf_aligned", "llpf_sphere"
"""The first is the second on aligned models; ``llpf_aligned_linear`` is ``linear`` on them, and so on."""


@dataclass(frozen=True)
class Recipe:
    """A recipe that mergekit takes.

    Attributes:
        file: that it was read from.
        document: what is written there, but for folders, which are named by their full paths: mergekit asks the hub
            about any other name when it writes the model card.
        names: of these folders in the file, by their full paths.
        config: mergekit's own reading of the document.
    """

    file: Path
    document: Mapping[str, Any]
    names: Mapping[str, str]
    config: Any

    @classmethod
    def read(cls, file: Path) -> "Recipe":
        """The recipe of a file.

        Raises:
            SpecificationError: it is missing, is not YAML or no recipe, or names a method that does not exist.
        """
        from mergekit.merge_methods import registered_methods

        names = dict[str, str]()
        document = _located(read_yaml(file, SpecificationError), names)
        if not isinstance(document, dict):
            raise SpecificationError(f"{file} is not a recipe of mergekit: it must have merge_method and models")
        config = _validated(file, document)
        methods = [method.spec.name for method in registered_methods()]
        methods += [ALIGNED, *(f"{ALIGNED}_{name}" for name in methods)]
        if config.merge_method not in methods:
            method = shortened(config.merge_method, 60)
            raise SpecificationError(f"{file}: there is no merge method {method!r}{nearest(method, methods)}")
        return cls(file, document, names, config)

    @property
    def after(self) -> str:
        """The method by which models are merged once they are aligned; empty where they are not to be aligned."""
        method: str = self.config.merge_method
        return SPHERE if method == ALIGNED else method.removeprefix(f"{ALIGNED}_") * method.startswith(f"{ALIGNED}_")

    def name(self, reference: Any) -> str:
        """How the file calls a model."""
        return self.names.get(str(reference), str(reference))

    def others(self) -> list[Any]:
        """The references of the models that are aligned to the base, each once, in the order of the file.

        Raises:
            SpecificationError: the recipe says what cannot be aligned.
        """
        config = self.config
        if config.base_model is None:
            raise SpecificationError(f"{self.file}: {ALIGNED} needs base_model, which the other models are aligned to")
        if not config.models:
            raise SpecificationError(f"{self.file}: {ALIGNED} merges whole models: list them under models")
        found = list(dict.fromkeys(entry.model for entry in config.models if entry.model != config.base_model))
        if not found:
            raise SpecificationError(f"{self.file}: models names none but the base, so that there is nothing to merge")
        for one in (config.base_model, *found):
            if one.lora is not None:
                raise SpecificationError(
                    f"{self.file}: {self.name(one)} is an adapter on a model: {ALIGNED} takes whole models, so join "
                    "the two first"
                )
        return found

    def with_aligned(self, places: Mapping[Any, Path]) -> dict[str, Any]:
        """The document for the method `after`, with aligned models in the place of those that were named.

        Args:
            places: the folder of each aligned model, by its reference.
        """
        document = copy.deepcopy(dict(self.document))
        document["merge_method"] = self.after
        for entry, read in zip(document["models"], self.config.models, strict=True):
            if read.model in places:
                entry["model"] = _reference(places[read.model])
        return document


def _located(value: Any, names: dict[str, str]) -> Any:
    """A document with the full paths of the folders that it names as models; ``names`` gets what they were called."""
    if isinstance(value, list):
        return [_located(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, one in value.items():
        found[key] = _located(one, names)
        # In mergekit's words a plus sign stands before an adapter, an at sign before a revision.
        if key in ("model", "base_model") and isinstance(one, str) and not {"+", "@"} & set(one) and Path(one).is_dir():
            place = Path(one).resolve()
            names[str(place)] = one
            found[key] = _reference(place)
    return found


def _reference(place: Path) -> dict[str, Any]:
    """A folder as mergekit's reference, in which no sign of its path has a meaning."""
    return {"model": {"path": str(place)}}


def _validated(file: Path, document: Mapping[str, Any]) -> Any:
    """Mergekit's reading of a document; what is wrong with it is named by its place."""
    from mergekit.config import MergeConfiguration
    from pydantic import ValidationError

    try:
        with explained(f"reading {file}"):
            return MergeConfiguration.model_validate(copy.deepcopy(document))
    except SpecificationError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        first = error.__cause__.errors(include_url=False, include_context=False)[0]
        raise SpecificationError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
