"""A loss beside the cross entropy: a teacher's answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from van_tutorial._checks import check_range
from van_tutorial._modes import eval_mode
from van_tutorial.training.examples import digest_of

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # of logits and labels


@dataclass(frozen=True)
class Distillation:
    """The loss of a student, as `distillation` makes it."""

    teacher: nn.Module
    temperature: float
    weight: float

    def __call__(self, logits: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """Return the loss of a batch, in nats per label.

        Args:
            logits: of the student, shape (N, num_classes) or (N, num_classes, H, W).
            labels: shape (N,) or (N, H, W).
            images: the batch, shape (N, C, H, W), which the teacher is shown.

        Raises:
            ValueError: where the teacher's outputs have another shape than the student's.
        """
        with torch.no_grad(), eval_mode(self.teacher):
            soft = self.teacher(images).to(logits.dtype)
        if soft.shape != logits.shape:
            raise ValueError(
                f"The teacher's outputs have shape {tuple(soft.shape)}, the student's {tuple(logits.shape)}: take a "
                "teacher of the same classes."
            )
        log_p, log_q = (functional.log_softmax(values / self.temperature, dim=1) for values in (soft, logits))
        divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
        hard = functional.cross_entropy(logits, labels)
        return (1.0 - self.weight) * hard + self.weight * self.temperature**2 * divergence

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must share to go on with this loss."""
        return {
            "loss": "distillation",
            "loss.temperature": self.temperature,
            "loss.weight": self.weight,
            "loss.teacher": digest_of(*self.teacher.state_dict().values()),
        }


def distillation(teacher: nn.Module, temperature: float = 4.0, weight: float = 0.5) -> Distillation:
    """Return a loss that has a network learn a teacher's answers beside the labels.

    With z the student's logits, u the teacher's, T the temperature and p_T(z) = softmax(z / T):

        (1 - weight) cross entropy(z, labels) + weight T^2 KL(p_T(u) || p_T(z))

    T^2 keeps the gradients of the two terms in proportion, since those of the second fall as 1 / T^2. `Trainer` and
    `train` take it as `loss`; a loop of one's own calls `loss(logits, labels, images)`.

    Args:
        teacher: a trained network of the same classes, on the device of the images. It is called in eval mode and
            without gradients, and left as it is.
        temperature: T, above 0.
        weight: of the teacher's part, in [0, 1].

    Returns:
        The loss, in nats per label.

    Raises:
        ValueError: for a value outside these bounds.

    Example:
        >>> teacher = nn.Flatten()  # its logits are the pixels
        >>> loss = distillation(teacher, temperature=1.0, weight=1.0)
        >>> images, labels = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([0])
        >>> round(loss(images.flatten(1), labels, images).item(), 6)  # a student that agrees
        0.0

    Source:
        Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network (arXiv 1503.02531), section 2.
    """
    check_range("temperature", temperature, 0.0, math.inf, open_low=True)
    check_range("weight", weight, 0.0, 1.0)
    return Distillation(teacher, temperature, weight)
