"""Networks of torchvision and timm. Images are normalised as the trained weights of these libraries expect them."""

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import features
from experiments.networks.contender import NOTHING, Network, Request, split_settings
from experiments.run.errors import closest
from experiments.run.torchvision import import_torchvision
from features.errors import one_line

SETTINGS = r"size=[1-9][0-9]{0,3}|weights=.+", "size=PIXELS (at most 9999) and weights=DEFAULT"


def make_torchvision(text: str, request: Request) -> Network:
    """Make `resnet18[,size=64][,weights=DEFAULT]`, with random weights from the seed unless weights are named.

    weights: torchvision's name of trained weights. size: height and width of the input in pixels, by default those of
    the trained weights; a vision transformer is made for that size. Raises ValueError if the network cannot be made.
    """
    name, options = split_settings(text, *SETTINGS)
    models = import_torchvision("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(
            f"torchvision has no classifier {name!r}; torchvision.models.list_models() names those it has"
            f"{closest(name, known)}"
        )
    weights = models.get_model_weights(name)
    usual = weights.DEFAULT.transforms()
    size = int(options.get("size", usual.crop_size[0]))
    made_for: dict[str, dict[str, Any]] = {"vit_": {"image_size": size}, "maxvit_": {"input_size": (size, size)}}
    sized = next((argument for start, argument in made_for.items() if name.startswith(start)), {})
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initialisations that will change
        torch.manual_seed(request.seed)
        try:
            model = models.get_model(name, weights=None, **sized)
        except Exception as error:  # each family refuses sizes in its own way
            raise ValueError(f"torchvision cannot make it at size={size}: {one_line(error)}") from error
    if "weights" in options:
        _load_weights(model, name, weights, options["weights"])
    return _network(f"torchvision {text}", model, (3, size, size), usual.mean, usual.std)


def _load_weights(model: nn.Module, name: str, weights: Any, wanted: str) -> None:
    """Load the trained weights `wanted` of the model `name`. `weights` is torchvision's enumeration of them."""
    if wanted not in weights.__members__:
        known = [member for member in weights.__members__ if member != "DEFAULT"]
        raise ValueError(f"no weights {wanted!r}; there are DEFAULT, {', '.join(known)}")
    url = weights[wanted].url
    try:
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # no network, a full disk, a damaged file, another size
        raise ValueError(f"cannot load the weights of {name}: {one_line(error)}") from error
    if hasattr(model, "transform_input"):  # these weights expect another normalisation
        model.transform_input = True  # type: ignore[assignment]


def make_timm(text: str, request: Request) -> Network:
    """Make `NAME[,size=64][,weights=DEFAULT]` of timm, if timm is installed; see make_torchvision."""
    name, options = split_settings(text, *SETTINGS)
    import_torchvision()  # timm imports it
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise ValueError("timm is not installed: pip install timm") from error
    wanted: dict[str, Any] = {"pretrained": "weights" in options}
    sized = {"img_size": int(options["size"])} if "size" in options else {}
    if options.get("weights", "DEFAULT") != "DEFAULT":
        name = f"{name}.{options['weights']}"  # timm's own way to name them
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        try:
            try:
                model = timm.create_model(name, **wanted, **sized)
            except TypeError:  # the model takes any size
                model = timm.create_model(name, **wanted)
        except Exception as error:  # an unknown name, a download that fails
            raise ValueError(f"timm cannot make it: {one_line(error)}") from error
    usual = model.pretrained_cfg
    channels, *sizes = usual["input_size"]
    size = int(options.get("size", sizes[0]))
    return _network(f"timm {text}", model, (channels, size, size), usual["mean"], usual["std"])


def _network(
    text: str, model: nn.Module, image_shape: tuple[int, int, int], mean: Sequence[float], sd: Sequence[float]
) -> Network:
    """Return `model`, named "LIBRARY NAME,options". Images in [0, 1] are normalised by `mean` and `sd` by channel."""
    low = tuple(-m / s for m, s in zip(mean, sd, strict=True))
    high = tuple((1 - m) / s for m, s in zip(mean, sd, strict=True))
    trained = ",weights=" in text
    name = text.replace(",", " ").replace("=", " ")
    return Network(
        name if trained else f"random-init {name}",
        model.eval(),
        image_shape=image_shape,
        value_range=(low, high),
        to_maps=features.tokens_to_maps,
        trained_on=None if trained else NOTHING,
    )
