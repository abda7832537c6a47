"""DCGANs: architectures, training, sampling, checkpoints and the authors' released weights (arXiv 1511.06434).

Architectures are data: a preset, or one that is changed. A discriminator's stages are the submodules conv1 .. convK.

>>> from dataclasses import replace
>>> arch = replace(gan.architecture("dcgan32"), width=8)
>>> isinstance(arch, gan.Architecture), arch.image_shape, arch.stage_names
(True, (3, 32, 32), ('conv1', 'conv2', 'conv3'))
>>> generator, discriminator = gan.Generator(arch), gan.Discriminator(arch)
>>> gan.initialise(generator, torch.Generator().manual_seed(0))
>>> images = generator(gan.sample_z(arch, 4))  # float32 in [-1, 1]
>>> images.shape, discriminator(images).shape
(torch.Size([4, 3, 32, 32]), torch.Size([4]))

Class-conditional networks also take labels.

>>> digits = gan.ConditionalArchitecture(width=8, units=32)
>>> labels = torch.arange(4)
>>> images = gan.ConditionalGenerator(digits)(gan.sample_z(digits, 4), labels)
>>> images.shape, gan.ConditionalDiscriminator(digits)(images, labels).shape
(torch.Size([4, 1, 28, 28]), torch.Size([4]))
"""

from gan.architectures import PRESETS, Architecture, Discriminator, Generator, architecture, initialise
from gan.checkpoint import load, load_state, save, save_state
from gan.conditional import CONDITIONAL_PRESETS, ConditionalArchitecture, ConditionalDiscriminator, ConditionalGenerator
from gan.config import TrainingConfig
from gan.frozen import draw, drop_maps, freeze
from gan.ports import Port, load_port
from gan.sampling import analogy, around, interpolate, interpolate_on_sphere, sample, sample_z
from gan.state import TrainingState, new_state
from gan.theano_weights import load_theano
from gan.training import Step, train
from gan.views import full_view

__all__ = [
    "CONDITIONAL_PRESETS",
    "PRESETS",
    "Architecture",
    "ConditionalArchitecture",
    "ConditionalDiscriminator",
    "ConditionalGenerator",
    "Discriminator",
    "Generator",
    "Port",
    "Step",
    "TrainingConfig",
    "TrainingState",
    "analogy",
    "architecture",
    "around",
    "draw",
    "drop_maps",
    "freeze",
    "full_view",
    "initialise",
    "interpolate",
    "interpolate_on_sphere",
    "load",
    "load_port",
    "load_state",
    "load_theano",
    "new_state",
    "sample",
    "sample_z",
    "save",
    "save_state",
    "train",
]
