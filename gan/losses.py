"""Objectives: each takes what a network says of a minibatch and returns a scalar to minimise, in float32.

The paper (section 3; Goodfellow et al., arXiv 1406.2661) uses binary cross-entropy with the non-saturating generator
loss; the authors' code (train_uncond_dcgan.py) takes the mean over the minibatch and adds the real and the fake half.
The others are later work, which `TrainingConfig` can add to the discriminator's objective.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, softplus


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


def nt_xent(embeddings: Tensor, temperature: float, *, among: Tensor | None = None, first: int = 0) -> Tensor:
    """NT-Xent (Chen et al. 2020, arXiv 2002.05709, eq. 1), averaged over all embeddings.

    It is the cross-entropy of finding an image's other view among all other embeddings, by cosine similarity over
    `temperature`.

    embeddings: float [2 n, d]; rows i and n + i are two views of one image. among: [M, d], the embeddings of all
    processes, in which rows `first` to `first` + 2 n are `embeddings`.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        own = normalize(embeddings.float(), dim=1)
        others = own if among is None else normalize(among.float(), dim=1)
        rows = torch.arange(len(own), device=own.device)
        itself = torch.arange(len(others), device=own.device) == first + rows[:, None]
        similarity = (own @ others.T / temperature).masked_fill(itself, -torch.inf)
        return cross_entropy(similarity, first + rows.roll(len(own) // 2))
