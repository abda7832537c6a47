"""GAN losses: each takes discriminator logits and returns a scalar to minimise.

The paper (section 3; Goodfellow et al., arXiv 1406.2661) uses binary cross-entropy with the non-saturating generator
loss; the authors' code (train_uncond_dcgan.py) takes the mean over the minibatch and adds the real and the fake half.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of the discriminator: -mean log D(x) - mean log(1 - D(G(z))).

    `real`, `fake`: logits, float [N]. softplus(-l) = -log sigmoid(l), without overflow.
    """
    return softplus(-real.float()).mean() + softplus(fake.float()).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating generator loss: -mean log D(G(z)). `fake`: logits, float [N]."""
    return softplus(-fake.float()).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Half the mean squared norm of the gradient at real images: R1 / gamma (Mescheder et al. 2018, eq. 9).

    The gradient is that of the sum of all logits. With batch norm, an image also changes the logits of other images.

    `images`: float [N, C, H, W] that require gradients and that `logits` [N] were computed from.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return 0.5 * gradient.float().square().sum((1, 2, 3)).mean()
