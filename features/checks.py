"""The checks that a network must pass before its features can be compared with another's.

Each check takes an Examination. It returns what it saw, or raises Fails with what is wrong and what to do, Warns if the
features can still be used, or Waits when another check must pass first. `features.conformance` runs them all.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from numbers import Real

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from features.errors import EndsProgramError, one_line
from features.examine import Examination, Waits, distance, memory, tensor_digests
from features.survey import listed, shape_fix
from features.taps import split_call

SHOWN = 24  # names in one line at most
# An image by itself and the same image in a batch are added up in different orders. float32 rounding then differs by
# about 1e-6 of the largest value after some layers; off the CPU by 2^-11 if only one of two kernels uses TF32.
# Features that depend on the batch's statistics differ by orders of magnitude more.
ROUNDING_CPU, ROUNDING_ELSEWHERE = 1e-4, 1e-3
# Up to here an L2SVM reaches its tolerance in float32 with every C of the default grid: on 1,000 images with 400
# rectified features, C = 0.001 takes 87 of at most 100 steps. At 3,000 it does not converge, and at 100,000 it does not
# even with the smallest C.
LARGEST = 1e3
KINDS = {"black": slice(0, 1), "white": slice(1, 2), "random": slice(2, None)}  # of Examination.images
_DEVICE = re.compile(r"cuda|nvidia|\bgpu|\bmps\b|\bdevice", re.IGNORECASE)


class Fails(Exception):
    """A check failed. seen: what is wrong. fix: what to do."""

    def __init__(self, seen: str, fix: str) -> None:
        super().__init__(seen, fix)
        self.seen, self.fix = seen, fix


class Warns(Fails):
    """A check passed, but results may be poor. seen: what may go wrong. fix: what to do."""


def is_module(exam: Examination) -> str:
    """The network is a torch.nn.Module, and its weights are there."""
    if not isinstance(exam.backbone.model, nn.Module):
        raise Fails(exam.wrong["module"], "wrap it in a torch.nn.Module that has its layers as submodules")
    if wrong := exam.wrong.get("module"):
        seen, _, fix = wrong.rpartition("; ")
        raise Fails(seen, fix)
    return type(exam.backbone.model).__name__


def layers_exist(exam: Examination) -> str:
    """Every named layer exists."""
    if "module" in exam.wrong:
        raise Waits
    if wrong := exam.wrong.get("layers"):
        if "input" in exam.wrong:
            raise Fails(wrong, "name some of these")
        raise Fails(wrong.partition("; it has")[0], f"those that give maps: {listed(exam.survey.maps)}")
    return _names(exam.backbone.layers)


def input_is_an_image(exam: Examination) -> str:
    """image_shape and value_range describe images."""
    if wrong := exam.wrong.get("input"):
        raise Fails(wrong, "for colour images of 32 pixels: image_shape=(3, 32, 32), value_range=(-1, 1)")
    low, high = exam.backbone.value_range
    bounds = f"[{low:g}, {high:g}]" if isinstance(low, Real) else "a range for each channel"
    return f"{_shape(exam.backbone.image_shape)} in {bounds}"


def runs_on_device(exam: Examination) -> str:
    """The network runs on its device."""
    error = _stop(exam)
    kind = exam.backbone.device.type
    if error is None:
        return kind
    if not _DEVICE.search(str(error)):
        raise Waits
    fix = "make new tensors on the input's device (device=x.device), and make constants buffers (register_buffer)"
    if kind == "cpu":
        fix += "; if it needs a GPU, move it there first (--device cuda)"
    raise Fails(f"on {kind} it raises {one_line(error)}", fix)


def runs_on_image_shape(exam: Examination) -> str:
    """The network runs on images of image_shape."""
    error, (channels, height, width) = _stop(exam), exam.backbone.image_shape
    if error is None:
        return "two blank images"
    if _DEVICE.search(str(error)):
        raise Waits
    if isinstance(error, EndsProgramError):
        seen, _, fix = str(error).rpartition("; ")
        raise Fails(seen, fix)
    seen = f"on float32 [2, {channels}, {height}, {width}] it raises {one_line(error)}"
    raise Fails(seen, shape_fix(exam.backbone.model, exam.backbone.image_shape))


def layers_run_once(exam: Examination) -> str:
    """Every layer runs once in a pass, because only its first output is used."""
    known, found = _known(exam), exam.survey
    if missed := [name for name in known if not _ran(exam, name)]:
        if found.error is not None:
            raise Waits
        others = {name: shape for name, shape in found.maps.items() if name not in known}
        raise Fails(f"never reached in forward: {_names(missed)}", f"those that give maps: {listed(others)}")
    if often := [name for name in known if found.ambiguous(name)]:
        calls = found.ambiguous(often[0])
        seen = f"runs {len(calls)} times in one pass, and only the first run counts: {_names(often)}"
        raise Fails(seen, f"name the run that is meant: {_names(calls)}")
    return "in every pass"


def outputs_are_maps(exam: Examination) -> str:
    """Every layer gives float maps [N, C, h, w]."""
    unfit, known = exam.survey.unfit, [exam.survey.call(name) for name in _known(exam)]
    if wrong := [unfit[name] for name in known if name in unfit]:
        tokens = "tokens [N, T, C] of a g x g grid: to_maps=lambda t: t.transpose(1, 2).unflatten(2, (g, g))"
        raise Fails("; ".join(wrong), tokens)
    if not all(name in exam.survey.maps for name in known):
        raise Waits
    return "float [N, C, h, w]"


def stays_in_evaluation(exam: Examination) -> str:
    """model.eval() reaches every module and stays in effect."""
    if _stop(exam) is not None:
        raise Waits
    if training := exam.survey.training:
        fix = "override neither eval() nor train(), and call no train() in forward"
        raise Fails(f"in training mode after model.eval(): {_names(training)}", fix)
    return "every module"


def is_finite(exam: Examination) -> str:
    """Features of black, white and random images are finite."""
    bad = {name: ~torch.isfinite(rows).all(1) for name, rows in exam.first.items() if not torch.isfinite(rows).all()}
    if not bad:
        return f"on {', '.join(KINDS)} images"
    kinds = [kind for kind, part in KINDS.items() if any(rows[part].any() for rows in bad.values())]
    seen = f"NaN or infinity on {', '.join(kinds)} images: {_names(bad)}"
    values = {name: t for name, t in exam.backbone.model.state_dict().items() if isinstance(t, torch.Tensor)}
    if broken := [name for name, tensor in values.items() if not torch.isfinite(tensor).all()]:
        raise Fails(seen, f"load other weights, these are not finite themselves: {_names(broken)}")
    raise Fails(seen, "guard divisions, roots and logarithms with an eps, and look at value_range")


def is_in_range(exam: Examination) -> str:
    """Features are at most 1,000 in size, as far as float32 fits of an L2SVM are known to reach their tolerance."""
    top = {name: float(exam.first[name].abs().max()) for name in exam.finite}
    largest = f"up to {max(top.values()):,.3g}"
    if loud := [name for name, value in top.items() if value > LARGEST]:
        seen = (
            f"features are {largest}, beyond {LARGEST:,.0f}, where float32 solvers are slow and inexact: {_names(loud)}"
        )
        raise Warns(seen, "scale the features, or normalise the network (batch norm, smaller weights)")
    return largest


def is_deterministic(exam: Examination) -> str:
    """The same images give the same features again."""
    if apart := exam.unsteady:
        seen = f"a second pass differs by {max(apart.values()):.1g} of the largest value: {_names(apart)}"
        if drawn := exam.draws():
            seen += f" (random numbers are drawn by {_names(drawn)})"
        raise Fails(seen, "draw none in evaluation: use nn.Dropout, or F.dropout(x, training=self.training)")
    return "bit for bit" if exam.backbone.device.type == "cpu" else "a second pass within 1e-5"


def ignores_the_batch(exam: Examination) -> str:
    """An image's features do not depend on the other images of its batch."""
    steady = [name for name in exam.finite if name not in exam.unsteady]
    if not steady:
        raise Waits
    others = np.random.default_rng(1).integers(0, 256, exam.images.shape, dtype=np.uint8)
    others[::2] = exam.images[::-2]  # every second image, in another place, among new images
    try:
        alone = [exam.features(exam.images[i : i + 1]) for i in range(len(exam.images))]
        beside = exam.features(others)
    except Exception as error:  # batch norm in training mode refuses single values
        raise Fails(f"an image alone raises {one_line(error)}", _own_statistics(exam)) from error
    apart = {}
    for name in steady:
        rows = exam.first[name]
        single, moved = torch.cat([one[name] for one in alone]), beside[name][::2]
        apart[name] = max(distance(rows, single), distance(rows.flip(0)[::2], moved))
    rounding = ROUNDING_CPU if exam.backbone.device.type == "cpu" else ROUNDING_ELSEWHERE
    allowed = {name: max(rounding, 8 * torch.finfo(exam.first[name].dtype).eps) for name in steady}
    if bad := [name for name in steady if apart[name] > allowed[name]]:
        most = max(apart[name] for name in bad)
        seen = f"an image alone, or beside others, differs by {most:.1g} of the largest value: {_names(bad)}"
        raise Fails(seen, _own_statistics(exam))
    most = max(apart.values())
    return f"an image alone, or beside others: {f'within {most:.0e} of the largest value' if most else 'bit for bit'}"


def tells_images_apart(exam: Examination) -> str:
    """Different images give different features."""
    if constant := [name for name in exam.finite if bool((exam.first[name] == exam.first[name][:1]).all())]:
        seen = f"the same for every image: {_names(constant)}"
        raise Fails(seen, "load the network's weights, or leave out layers that do not depend on the image")
    return "different images differ"


def leaves_weights_alone(exam: Examination) -> str:
    """A pass changes no parameter and no buffer."""
    exam.first  # noqa: B018 - makes sure that there was a pass
    now = tensor_digests(exam.backbone.model)
    if changed := [name for name in {**exam.state, **now} if exam.state.get(name) != now.get(name)]:
        fix = "keep batch norm, and anything else that learns in forward, in evaluation mode"
        raise Fails(f"a pass changes {_names(changed)}", fix)
    return "not changed by a pass"


def features_fit(exam: Examination) -> str:
    """A table's features fit on the disk, and in memory, because every pass of the solver reads them."""
    needed = exam.rows * exam.width * 4
    folder = next(p for p in (exam.folder.resolve(), *exam.folder.resolve().parents) if p.exists())
    room = {"free on the disk": shutil.disk_usage(folder).free, "of memory": memory()}
    seen = f"{exam.width:,} features, {needed / 1e9:,.1f} GB for {exam.rows:,} images"
    if short := [f"{size / 1e9:,.1f} GB {where}" for where, size in room.items() if size < needed]:
        raise Fails(f"{seen}; there are only {' and '.join(short)}", "name fewer layers, or narrower ones")
    return seen


CHECKS: dict[str, Callable[[Examination], str]] = {
    "module": is_module,
    "layers": layers_exist,
    "input": input_is_an_image,
    "device": runs_on_device,
    "runs": runs_on_image_shape,
    "once": layers_run_once,
    "maps": outputs_are_maps,
    "evaluation": stays_in_evaluation,
    "finite": is_finite,
    "range": is_in_range,
    "deterministic": is_deterministic,
    "batch": ignores_the_batch,
    "distinct": tells_images_apart,
    "weights": leaves_weights_alone,
    "width": features_fit,
}


def _known(exam: Examination) -> list[str]:
    """Return the named layers that the network has. Raises Waits when it has none of them."""
    there = dict(exam.backbone.model.named_modules(remove_duplicate=False)) if "module" not in exam.wrong else {}
    if known := [name for name in exam.wanted if split_call(name, there)[0] in there]:
        return known
    raise Waits


def _ran(exam: Examination, layer: str) -> bool:
    return exam.survey.call(layer) in {call.name for call in exam.survey.calls}


def _stop(exam: Examination) -> Exception | None:
    """Return the error that kept a pass from reaching every layer; None if all were reached.

    An error after the last layer (a missing head, for example) does not matter.
    """
    error = exam.survey.error
    wanted = () if "layers" in exam.wrong else exam.backbone.layers
    return None if wanted and all(_ran(exam, name) for name in wanted) else error


def _own_statistics(exam: Examination) -> str:
    """Say how to fix features that depend on the batch."""
    named = exam.backbone.model.named_modules()
    norms = {name: m for name, m in named if isinstance(m, _BatchNorm)}
    if training := [name for name in norms if name in exam.survey.training]:
        return f"keep batch norm in evaluation mode: {_names(training)}"
    if bare := [name for name, norm in norms.items() if norm.running_mean is None]:
        return f"give batch norm running statistics (features.calibrate_batchnorm, as eval does): {_names(bare)}"
    return "take no means, maxima or sorts over the batch (dimension 0)"


def _names(names: Iterable[str]) -> str:
    """Join as many names as a line holds."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
