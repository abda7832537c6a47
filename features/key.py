"""The key of stored features. It holds everything that changes their values."""

import hashlib
import inspect
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.backbone import Backbone
from features.pooling import PAPER_GRID, Pool
from features.weights import as_bytes

# Raise this when extraction, pooling, preprocessing or calibration gives other values than before.
VERSION = 1


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 (hex) of the state dict: sorted names, dtypes, shapes, bytes; the same on every device.

    Raises ValueError for a tensor without dense values (meta, sparse, lazy).

    >>> net = torch.nn.Conv2d(3, 8, 4)
    >>> before = features.weights_digest(net)
    >>> with torch.no_grad():
    ...     _ = net.bias.add_(1)
    >>> len(before), features.weights_digest(net) == before
    (64, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            content = as_bytes(name, value)
            digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            digest.update(content.tobytes())
        else:
            digest.update(f"{name} {value!r}\n".encode())
    return digest.hexdigest()


def feature_key(
    backbone: Backbone,
    *,
    data_digest: str,
    batchnorm: Mapping[str, Any],
    pool: Pool = PAPER_GRID,
    mirrored: bool = False,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """Return a JSON-able dictionary that differs whenever the features would differ.

    data_digest: digest of the images, their order and subset included. batchnorm: the mode and what it depends on, for
    example {"mode": "calibrated", "data": digest, "batches": 80, "batch_size": 128}, {"mode": "running"} or
    {"mode": "batch", "batch_size": 128}. Take the key before calibrating: the digest of the weights covers the model's
    statistics, and so the key of finished features is known without a calibration pass.
    mirrored: as in extract. Only a key of mirrored features names it.
    device: where features will be extracted; by default where the model is. Kinds of device round differently, and so
    do releases of torch.
    The weights do not say how a network computes with them. So the key also holds its printed structure (strides,
    slopes, eps) and the source files of its own modules (those outside torch), of to_maps and of pool. What these files
    import is not followed.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> key = features.feature_key(backbone, data_digest="3f7a", batchnorm={"mode": "running"})
    >>> key["layers"], key["image_shape"], key["pool"]
    (['1'], [3, 32, 32], 'MaxGrid(size=4)')
    """
    key = {
        "version": VERSION,
        "weights": weights_digest(backbone.model),
        "structure": hashlib.sha256(_printed(backbone.model).encode()).hexdigest(),
        "code": _code_digest(backbone, pool),
        "layers": list(backbone.layers),
        "image_shape": list(backbone.image_shape),
        "value_range": np.asarray(backbone.value_range).tolist(),
        "pool": _printed(pool),
        "to_maps": _printed(backbone.to_maps),
        "batchnorm": dict(batchnorm),
        "data": data_digest,
        "torch": torch.__version__,
        "device": torch.device(backbone.device if device is None else device).type,
    }
    return key | {"mirrored": True} if mirrored else key


def _code_digest(backbone: Backbone, pool: Pool) -> str:
    """Return the SHA-256 of the source files of the model's own modules, of to_maps and of pool."""
    classes = {type(module) for module in backbone.model.modules()}
    functions: list[Any] = [cls.forward for cls in classes if not cls.__module__.startswith("torch.")]
    given = [_whole(f) for f in (backbone.to_maps, pool) if f is not None]
    functions += [f if inspect.isroutine(f) else type(f).__call__ for f in given]
    files = {code.co_filename for f in functions if (code := getattr(inspect.unwrap(f), "__code__", None))}
    contents = sorted(Path(file).read_bytes() for file in files if Path(file).is_file())
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


def _whole(function: Any) -> Any:
    """Return the function inside a functools.partial."""
    return _whole(function.func) if isinstance(function, partial) else function


def _printed(thing: object) -> str:
    """Return the repr without memory addresses, which differ from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(thing))
