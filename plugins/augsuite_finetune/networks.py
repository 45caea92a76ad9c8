"""Classifiers by name, and what they can be asked: their heads, and the sizes that they take."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call

from augsuite.errors import ConfigError, MissingExtraError, nearest
from augsuite_finetune.classics import AlexNet, LeNet

CLASSICS: dict[str, Callable[[int], nn.Module]] = {
    "lenet": lambda size: LeNet(size=size),
    "alexnet_2012": lambda size: AlexNet(),  # noqa: ARG005 - it takes any size
}
"""Those that are written out here; each is made for a size."""

AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
"""Classifiers at half the depth, for the training only."""

TIMM = ("timm.", "timm/")
"""What the name of a model of timm begins with."""

REFUSALS = (AssertionError, RuntimeError, ValueError, TypeError, IndexError, ZeroDivisionError)
"""How networks say that they cannot take a size."""


def is_timm(name: str) -> bool:
    """Whether a name is one of timm's."""
    return name.startswith(TIMM)


def known_models() -> list[str]:
    """The names that need no other package."""
    return [*CLASSICS, *torchvision.models.list_models(module=torchvision.models)]


def check_name(name: str) -> None:
    """Stop at a name that nobody knows; those of timm are for timm to know.

    Raises:
        ConfigError: says the nearest.
    """
    if not is_timm(name) and name not in known_models():
        hint = nearest(name, known_models())
        raise ConfigError(f"finetune: unknown model {name!r}. {hint} Models of timm are written timm.NAME.")


def make_network(name: str, size: int, trained: bool) -> nn.Module:
    """A network with fresh weights and the head that it was published with, usually for the 1,000 classes of ImageNet.

    Args:
        name: of `known_models`, or `timm.` and a model of timm.
        size: side of the images in pixels, for the networks that are made for one.
        trained: whether published weights will be loaded, which some of torchvision's networks need to know: theirs were trained on
            images normalised otherwise.

    Raises:
        ConfigError: for an unknown name or an impossible size.
        MissingExtraError: if timm is wanted and not installed.
    """
    if is_timm(name):
        return make_timm(name, size, pretrained=False)
    check_name(name)
    options: dict[str, Any] = {}
    if name in AUXILIARY:
        options = {"aux_logits": True, "transform_input": trained, "init_weights": not trained}
    if name.startswith("vit_"):
        options = {"image_size": size}
    if name == "maxvit_t":
        options = {"input_size": (size, size)}
    try:
        made: nn.Module = (
            CLASSICS[name](size) if name in CLASSICS else torchvision.models.get_model(name, weights=None, **options)
        )
    except REFUSALS as error:
        raise too_small(name, size, error) from error
    return made


def make_timm(name: str, size: int, pretrained: bool) -> nn.Module:
    """A model of timm; one that is made for a size (ViT, Swin) is made for this one.

    Raises:
        ConfigError: for an unknown name.
        MissingExtraError: if timm is not installed.
        OSError: if its weights cannot be had; so may RuntimeError.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the model {name}", "timm", error.name or "timm") from error
    inner = name[len(TIMM[0]) :]
    if not timm.is_model(inner):
        raise ConfigError(f"finetune: unknown model {name!r}. {nearest(inner, timm.list_models())}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mapping deprecated model name", UserWarning)  # xception has another name now
        entry = timm.get_pretrained_cfg(inner)
        options: Any = {"img_size": size} if entry is not None and entry.fixed_input_size else {}
        try:
            made: nn.Module = timm.create_model(inner, pretrained=pretrained, **options)
        except (AssertionError, TypeError, ValueError) as error:
            raise too_small(name, size, error) from error
    return made


def find_heads(model: nn.Module, name: str) -> tuple[str, ...]:
    """Dotted names of the layers that give class scores, that of the whole network first.

    timm says which they are. For torchvision it is the last linear or convolutional layer, and the last one of each auxiliary classifier.

    Raises:
        ConfigError: if there is none.
    """
    config = getattr(model, "default_cfg", {})
    declared = config.get("classifier") if is_timm(name) else None
    heads = (declared,) if isinstance(declared, str) else tuple(declared or ())
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    if not all(head in layers for head in heads):
        heads = ()
    if not heads and layers:
        aux = auxiliary(name)
        parts = [[path for path in layers if path.startswith(f"{part}.")] for part in aux]
        body = [path for path in layers if not any(path.startswith(f"{part}.") for part in aux)]
        heads = (body[-1], *(part[-1] for part in parts))
    if not heads:
        raise ConfigError(f"finetune: {name} has no linear or convolutional layer to replace. Choose another model.")
    return heads


def auxiliary(name: str) -> tuple[str, ...]:
    """Dotted names of a network's auxiliary classifiers."""
    return AUXILIARY.get(name, ())


def replace_head(model: nn.Module, path: str, classes: int) -> nn.Module:
    """Put a fresh layer of the same kind with `classes` outputs in a head's place: small random weights, biases of 0.

    Args:
        model: changed in place.
        path: dotted name of the head.
        classes: number of outputs.
    """
    old = model.get_submodule(path)
    biased = old.bias is not None
    head: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Conv2d):
        head = nn.Conv2d(
            old.in_channels,
            classes,
            old.kernel_size,  # type: ignore[arg-type]  # PyTorch keeps it as a tuple of any length
            old.stride,  # type: ignore[arg-type]
            old.padding,  # type: ignore[arg-type]
            bias=biased,
        )
    elif isinstance(old, nn.Linear):
        head = nn.Linear(old.in_features, classes, bias=biased)
    else:
        msg = f"{path} is a {type(old).__name__}, and a head is a linear or convolutional layer"
        raise TypeError(msg)
    nn.init.normal_(head.weight, std=0.01)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    model.set_submodule(path, head)
    return head


@contextmanager
def mode_of(model: nn.Module, training: bool) -> Iterator[None]:
    """Train or evaluate for a moment, and leave every part in the mode that it had."""
    before = {module: module.training for module in model.modules()}
    try:
        model.train(training)
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def try_size(model: nn.Module, size: int, training: bool = False) -> Any:
    """Run a network on two images that have a shape and no pixels: it takes no time and changes nothing.

    Args:
        model: any network.
        size: side of the images in pixels.
        training: with its auxiliary outputs.

    Returns:
        What the network gives, on PyTorch's device `meta`.

    Raises:
        AssertionError: or another of `REFUSALS`, if it cannot take the size.
    """
    parts = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    with torch.no_grad(), mode_of(model, training):
        return functional_call(model, parts, (torch.empty(2, 3, size, size, device="meta"),))


def check_size(model: nn.Module, name: str, size: int) -> None:
    """Stop where a network cannot be trained, or used, at a size.

    Raises:
        ConfigError: says why.
    """
    try:
        try_size(model, size)
        if auxiliary(name):  # they need more
            try_size(model, size, training=True)
    except REFUSALS as error:
        raise too_small(name, size, error) from error


def too_small(name: str, size: int, error: BaseException) -> ConfigError:
    """What is said of a size that a network cannot take."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigError(f"finetune: {name} cannot take images of {size} px ({reason}). Set size.")


def outputs_of(result: Any) -> tuple[Tensor, ...]:
    """The logits of a network, then those of its auxiliary classifiers where it gave any.

    Args:
        result: what the network returned: a tensor, or the named tuple of `googlenet` and `inception_v3`.
    """
    if isinstance(result, Tensor):
        return (result,)
    return tuple(part for part in result if part is not None)
