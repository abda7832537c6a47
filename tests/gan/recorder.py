"""A stand-in for CUDA graphs: records the operators of an update, and repeats them on the same tensors.

Like a graph it repeats no Python: what an update reads from Python while it is recorded stays as it was then. Like a
graph it leaves nothing done while it records, and tensors that the update made are overwritten by each replay.
"""

import copy

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2")  # operators that wait


class _Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        self.calls.append((operator, args, kwargs or {}, out))
        return out


class StandIn:
    """Records updates on the CPU. `state`: the training state, put back after recording."""

    def __init__(self, state):
        self.state = state
        self.recorded, self.alone, self.replayed = [], 0, 0

    def once(self, update):
        self.alone += 1
        return update()

    def record(self, update, noise):
        held = [t for network in self.state.networks.values() for t in network.state_dict(keep_vars=True).values()]
        held += [t for o in self.state.optimizers.values() for slots in o.state.values() for t in slots.values()]
        before, draws = [t.detach().clone() for t in held], noise.get_state()
        with _Tape() as tape:
            loss = update()
        with torch.no_grad():
            for tensor, value in zip(held, before, strict=True):
                tensor.copy_(value)
        noise.set_state(draws)
        self.recorded.append([operator.overloadpacket.__name__ for operator, *_ in tape.calls])
        return lambda: self._replay(tape.calls, loss)

    def _replay(self, calls, loss):
        self.replayed += 1
        with torch.no_grad():
            for operator, args, kwargs, out in calls:
                again = operator(*args, **kwargs)
                for old, new in zip(tree_flatten(out)[0], tree_flatten(again)[0], strict=True):
                    # views and tensors written in place are the recorded ones already
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)
        return copy.deepcopy(loss)
