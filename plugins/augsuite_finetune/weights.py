"""Where a network's weights come from: what torchvision or timm publish, or a file; nothing that is loaded is executed."""

from __future__ import annotations

import pickle
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from augsuite.errors import ConfigError, MissingExtraError
from augsuite_finetune.networks import (
    CLASSICS,
    auxiliary,
    check_name,
    find_heads,
    is_timm,
    make_network,
    make_timm,
    replace_head,
)

State = Mapping[str, Tensor]

NESTED = ("state", "state_dict", "model", "model_ema")
"""Under which keys files keep a state dict: our own `model.pt` under the first."""


@dataclass(frozen=True)
class Source:
    """A network with the head that its weights came with.

    Attributes:
        model: the network.
        heads: dotted names of its heads, the main one first.
        trained: whether the main head was among the weights.
        categories: what its outputs are called, in order; None where nobody knows.
    """

    model: nn.Module
    heads: tuple[str, ...]
    trained: bool
    categories: list[str] | None


def load_source(name: str, weights: str, size: int) -> Source:
    """Make a network and load its weights.

    Args:
        name: as in the setting `model`.
        weights: as in the setting `weights`.
        size: side of the images in pixels.

    Raises:
        ConfigError: for an unknown model, and for weights that cannot be had, are damaged, or belong to another model.
        MissingExtraError: if a package that is needed is not installed.
    """
    if weights == "none":
        model = make_network(name, size, trained=False)
        return Source(model, find_heads(model, name), trained=False, categories=None)
    if is_timm(name) and weights == "default":
        model = download_timm(name, size)
        return Source(model, find_heads(model, name), trained=True, categories=names_of(model, name, None))
    check_name(name)  # before torchvision is asked what it publishes
    published = {} if is_timm(name) or name in CLASSICS else published_weights(name)
    if weights == "default" and not published:
        raise ConfigError(
            f"finetune: nobody publishes weights of {name}. Set weights to the path of a state dict, or to none."
        )
    model = make_network(name, size, trained=True)
    categories: list[str] | None
    if weights in published:
        state, categories = download(name, published[weights]), list(published[weights].meta["categories"])
    else:
        state, categories = read_state(Path(weights), [key for key in published if key != "default"])
    state = translated(name, state, model, size)
    heads = find_heads(model, name)
    trained = fill(model, name, heads, state, f"weights: {weights}")
    return Source(model, heads, trained, names_of(model, name, categories) if trained else None)


def published_weights(name: str) -> dict[str, Any]:
    """The entries that torchvision has of a model, by name, and `default` for the one that it recommends."""
    entries: Any = torchvision.models.get_model_weights(name)
    known = dict(entries.__members__)
    known.pop("DEFAULT", None)
    return {**known, "default": entries.DEFAULT} if known else {}


def download(name: str, entry: Any) -> State:
    """The state dict of an entry of torchvision, from PyTorch's cache where it is there already.

    Raises:
        ConfigError: if it cannot be had.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # PyTorch sets none, and a network that drops packets would hang
    try:
        state: State = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise not_downloaded(name, error) from error
    finally:
        socket.setdefaulttimeout(before)
    return state


def download_timm(name: str, size: int) -> nn.Module:
    """A model of timm with its published weights, from the cache of the Hugging Face hub where they are there already.

    Raises:
        ConfigError: if they cannot be had.
        MissingExtraError: if timm is not installed.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    try:
        return make_timm(name, size, pretrained=True)
    except (OSError, RuntimeError) as error:  # those of requests and httpx are among them
        raise not_downloaded(name, error) from error
    finally:
        socket.setdefaulttimeout(before)


def not_downloaded(name: str, error: Exception) -> ConfigError:
    """What is said of published weights that cannot be had."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigError(
        f"finetune: the published weights of {name} cannot be downloaded ({reason}). "
        "Set weights to the path of a state dict, or to none."
    )


def read_state(path: Path, published: list[str]) -> tuple[State, list[str] | None]:
    """A state dict from a file of safetensors or of PyTorch, and the categories where the file says them, as our own `model.pt` does.

    Args:
        path: the file.
        published: what could have been written instead, for the message.

    Raises:
        ConfigError: if there is no such file, or it holds no state dict that can be loaded safely.
    """
    if not path.is_file():
        choices = ", ".join(["default", *published, "none"])
        raise ConfigError(f"finetune: weights: {path}: no such file. Write {choices} or the path of a state dict.")
    content: Any
    if path.suffix == ".safetensors":
        content = read_safetensors(path)
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
            raise no_state(path) from error
    state = content
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            state = content[key]
            break
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"finetune: weights: {path} holds no state dict. Save model.state_dict().")
    named = content.get("categories") if state is not content else None
    categories = [str(name) for name in named] if isinstance(named, list) else None
    return {str(key).removeprefix("module."): value for key, value in state.items()}, categories


def read_safetensors(path: Path) -> State:
    """The tensors of a file of safetensors.

    Raises:
        ConfigError: if it is damaged.
        MissingExtraError: if the package is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ModuleNotFoundError as error:
        raise MissingExtraError("a file of safetensors", "train", error.name or "safetensors") from error
    try:
        state: State = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise no_state(path) from error
    return state


def no_state(path: Path) -> ConfigError:
    """What is said of a file that is damaged, or would have to be executed."""
    return ConfigError(f"finetune: weights: {path} is no state dict of tensors that can be loaded safely.")


_DENSE = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)")
"""How the published files of DenseNet spell the names of their layers, as `torchvision.models.densenet` knows."""


def translated(name: str, state: State, model: nn.Module, size: int) -> State:
    """A published state dict in the names and the shapes of a network that was made for another size.

    Source: `torchvision.models.vision_transformer.interpolate_embeddings`, as its fine-tuning at another resolution does.
    """
    if name.startswith("densenet"):
        return {_DENSE.sub(r"\1\2", key): value for key, value in state.items()}
    if name.startswith("vit_") and "encoder.pos_embedding" in state:
        patch: Any = model.patch_size
        return dict(torchvision.models.vision_transformer.interpolate_embeddings(size, patch, dict(state)))
    return state


def fill(model: nn.Module, name: str, heads: tuple[str, ...], state: State, where: str) -> bool:
    """Load a state dict into a network whose heads take the number of classes that the state dict has.

    A head, or an auxiliary classifier, may be missing from it.

    Returns:
        Whether the main head was in it.

    Raises:
        ConfigError: if it is that of another model.
    """
    for head in heads:
        given = state.get(f"{head}.weight")
        if given is not None and given.ndim and len(given) != len(model.get_parameter(f"{head}.weight")):
            replace_head(model, head, len(given))
    own = model.state_dict()
    optional = tuple(f"{path}." for path in (*heads, *auxiliary(name)))
    problems = (
        ("lacks", {key for key in own if key not in state and not key.startswith(optional)} - counters(own)),
        ("has, and the model has not,", set(state) - set(own)),
        ("has in another shape", {key for key in set(own) & set(state) if own[key].shape != state[key].shape}),
    )
    for problem, names in problems:
        if names:
            raise ConfigError(f"finetune: {where} {problem} {min(names)!r}. Is it of another model?")
    model.load_state_dict(dict(state), strict=False)
    return f"{heads[0]}.weight" in state


def counters(state: State) -> set[str]:
    """Numbers of batches that batch norm has seen; files of old versions lack them, and nothing here uses them."""
    return {key for key in state if key.endswith(".num_batches_tracked")}


def names_of(model: nn.Module, name: str, categories: list[str] | None) -> list[str] | None:
    """What the outputs are called: what the weights say, or the names of ImageNet where there are a thousand of them."""
    outputs = len(model.get_parameter(f"{find_heads(model, name)[0]}.weight"))
    if categories is None and outputs == 1000:
        categories = list(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    return categories if categories is not None and len(categories) == outputs else None
