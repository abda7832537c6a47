"""Images read ahead: the same minibatches from wherever they lie, a bounded number of them, and a clean end."""

import os
import threading

import numpy as np
import pytest
import torch

import gan
from gan import minibatches, training
from gan.read_ahead import MINIBATCHES, ReadAhead
from tests.gan.recorder import StandIn
from tests.gan.small import ARCH, IMAGES

CPU = torch.device("cpu")
CONFIG = gan.TrainingConfig(images=40 * 8, decay_from=20 * 8, batch_size=8, seed=5)
HEAD = 7  # bytes before the images of the file


@pytest.fixture
def mapped(tmp_path):
    """The images as a memory map of a file."""
    (tmp_path / "images.u8").write_bytes(bytes(HEAD) + IMAGES.numpy().tobytes())
    return np.memmap(tmp_path / "images.u8", np.uint8, "r", HEAD, tuple(IMAGES.shape))


def reversed_in_memory(mapped):
    """A private map that holds other bytes than its file."""
    private = np.memmap(mapped.filename, np.uint8, "c", HEAD, mapped.shape)
    private[:] = mapped[::-1]
    return private


@pytest.fixture(autouse=True)
def before(monkeypatch):
    """Readers that other tests have left to the garbage collector do not count."""
    monkeypatch.setattr(threads, "before", set(threading.enumerate()), raising=False)


def threads():
    new = set(threading.enumerate()) - threads.before
    return [thread.name for thread in new if thread.name.startswith("read-ahead")]


@pytest.mark.parametrize(
    ("source", "from_file"),
    [
        (lambda mapped: mapped, True),
        (lambda mapped: IMAGES.numpy(), False),
        (lambda mapped: mapped[2:], False),  # it says that it begins where the whole map does
        (reversed_in_memory, False),
        (lambda mapped: np.asfortranarray(mapped), False),
    ],
    ids=["map", "array", "slice", "private", "order"],
)
def test_minibatches_are_the_same_from_anywhere_and_in_any_order(monkeypatch, mapped, source, from_file):
    read, preadv = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *given: read.append(given) or preadv(*given))
    images = source(mapped)
    labels, rows = torch.arange(len(images)) % 10, torch.arange(3, len(images) - 1)
    there = minibatches.Minibatches(torch.from_numpy(np.array(images)), labels, rows, CONFIG, CPU)
    elsewhere = minibatches.Minibatches(images, labels, rows, CONFIG, CPU)
    for step in (0, 1, 3, 5, 3, 29, 31, 39):
        chosen = rows[minibatches.minibatch_indices(len(rows), CONFIG, step)]
        for one in (there, elsewhere):
            one.load(step)
            assert torch.equal(one.labels()[0], labels[chosen])
            if CONFIG.updated(step) == "discriminator":
                assert np.array_equal(one.images(), images[chosen.numpy()])
    elsewhere.close()
    assert bool(read) == from_file and not threads()


def run(images, state=None, stop=CONFIG.steps):
    """Losses, and the state at the end; the rate is a tensor, as on a GPU."""
    state = state or gan.new_state(ARCH, CONFIG)
    for optimizer in state.optimizers.values():
        optimizer.param_groups[0]["lr"] = torch.tensor(optimizer.param_groups[0]["lr"])
    steps = gan.train(state, images, CONFIG)
    losses = [float(step.loss) for _, step in zip(range(stop), steps, strict=False)]
    steps.close()
    return losses, state


@pytest.mark.parametrize("recorded", [False, True])
def test_a_run_read_ahead_and_resumed_equals_one_in_memory_bit_for_bit(monkeypatch, mapped, tmp_path, recorded):
    expected, whole = run(IMAGES)
    monkeypatch.setattr(minibatches, "AHEAD", 7)

    def recording(state):
        if recorded:
            monkeypatch.setattr(training, "recorder_for", lambda device: StandIn(state))
        return state

    begun, state = run(mapped, recording(gan.new_state(ARCH, CONFIG)), 23)
    assert not threads()
    gan.save_state(tmp_path / "state", state, CONFIG)
    ended, state = run(mapped, recording(gan.load_state(tmp_path / "state", ARCH, CONFIG)))
    assert begun + ended == expected
    weights = whole.discriminator.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in state.discriminator.state_dict().items())


def test_a_file_that_became_shorter_is_an_error_that_names_it(mapped):
    steps = gan.train(gan.new_state(ARCH, CONFIG), mapped, CONFIG)
    next(steps)
    os.truncate(mapped.filename, HEAD + 3 * mapped[0].nbytes)
    with pytest.raises(OSError, match=r"became shorter .*images\.u8"):
        list(steps)
    assert not threads()


def test_a_map_whose_file_became_shorter_is_refused(mapped):
    length = os.path.getsize(mapped.filename)
    os.truncate(mapped.filename, length - 1)
    with pytest.raises(OSError, match=r"became shorter after it was opened, make it again: '.*images.u8'"):
        ReadAhead(mapped, 8, lambda step: iter(()), CPU)
    os.truncate(mapped.filename, length)  # pytest may read the map


@pytest.mark.parametrize("other", [None, bytes(HEAD + IMAGES.nbytes), b"short"])
def test_a_map_keeps_its_file_when_the_name_is_removed_or_given_to_another(mapped, other):
    os.rename(mapped.filename, f"{mapped.filename}.old")
    if other is not None:
        mapped.filename.write_bytes(other)
    rows, to = np.arange(8), torch.zeros(8, *IMAGES.shape[1:], dtype=torch.uint8)
    reader = ReadAhead(mapped, 8, lambda step: iter([(step, rows)]), CPU)
    reader.copy(0, to)
    reader.close()
    assert torch.equal(to, IMAGES[:8])


def test_a_failing_disk_is_an_error_that_names_the_file(monkeypatch, mapped):
    def failing(*given):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(OSError, match=r"Input/output error: .*images\.u8"):
        run(mapped)
    assert not threads()


def test_a_bounded_number_of_minibatches_is_read_ahead():
    asked = []

    def wanted(first):
        for step in range(first, 100):
            asked.append(step)
            yield step, np.array([step, step + 1])

    images, to = np.arange(101, dtype=np.uint8)[:, None], torch.zeros(2, 1, dtype=torch.uint8)
    reader = ReadAhead(images, 2, wanted, CPU)
    for step in range(10):
        reader.copy(step, to)
        assert to.tolist() == [[step], [step + 1]] and asked[-1] == step + MINIBATCHES
    reader.close()


class Copied:
    """A stand-in for the CUDA event after a copy, which is done when it says so."""

    def __init__(self):
        self.done, self.waited = True, 0

    def record(self):
        self.done = False

    def query(self):
        return self.done

    def synchronize(self):
        self.done, self.waited = True, self.waited + 1


def test_a_buffer_is_filled_again_only_after_its_copy_to_the_gpu(monkeypatch):
    images, to = np.arange(100, dtype=np.uint8)[:, None], torch.zeros(1, 1, dtype=torch.uint8)
    reader = ReadAhead(images, 1, lambda first: ((s, np.array([s])) for s in range(first, 100)), CPU)
    copied = [Copied() for _ in range(MINIBATCHES)]
    for buffer, event in zip(reader._free, copied, strict=True):
        buffer.copied = event
    for step in range(MINIBATCHES - 1):  # the GPU is behind: no copy is done
        reader.copy(step, to)
        assert len(reader._reading) == MINIBATCHES - 1 - step and len(reader._free) == step + 1
    assert not any(event.waited for event in copied)
    copied[0].done = copied[1].done = True
    reader.copy(MINIBATCHES - 1, to)
    assert [step for step, *_ in reader._reading] == [MINIBATCHES, MINIBATCHES + 1]
    for step in (MINIBATCHES, MINIBATCHES + 1):
        reader.copy(step, to)
        assert int(to) == step
    assert [event.waited for event in copied[:4]] == [
        0,
        0,
        1,
        0,
    ]  # nothing was being read: it waits for the oldest copy
    reader.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("graphs", [True, False])
def test_a_gpu_gets_the_same_minibatches(mapped, graphs, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    losses = []
    for images in (IMAGES.cuda(), mapped):
        state = gan.new_state(ARCH, CONFIG, "cuda")
        losses.append([float(step.loss) for step in gan.train(state, images, CONFIG, graphs=graphs)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
