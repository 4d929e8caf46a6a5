"""The phase-out of one network's skip weights, and the account of who removed them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from van_tutorial.constraints import (
    Multipliers,
    falling_cap,
    fixed_penalty,
    project,
    removal_starts,
    scheduled_skip_weight,
    size_dual_lr,
    spread_dual_lr,
)
from van_tutorial.training.config import TrainConfig

NEVER = -1  # no step yet
IN_TIME = 0.75  # of its window, when a staggered layer's skip should be removed
ROUNDING = 1e-6  # how far the end of a window may be off in single precision, as a fraction of the training
MARGIN = 0.3  # slope that the default dual learning rate is sized for; slopes that were measured are near 0
FLICKER = 0.01  # up to here a skip weight that has been at its target counts as being there still


class PhaseOut(nn.Module):
    """Take the skip weights from their initial values to 0, their target, in the course of a training.

    After the gradients of the Lagrangian are there, one `step` does, for every layer l:

        alpha_l <- alpha_l - skip_lr (dC/dalpha_l + lambda_l)      primal step; without dC/dalpha_l where
                                                                   config.skip_gradient is False
        alpha_l <- min(max(alpha_l, 0), cap)                       projection; the cap falls from 1 to 0
        lambda_l <- lambda_l + dual_lr_l alpha_l                   dual step

    With a stagger each layer has a window of its own: its dual step and the fall of its cap begin when it opens. (One
    skip alone has all the time.) Nothing is removed before config.remove_from.
    With config.skip_target 1 the violation v_l = 1 - alpha_l goes to 0 in the same way, and what is removed is not
    the skip but what it goes round: the activation. In the names below, "zero", "capped" and "removed" are said
    of the violation. With skip_schedule "penalty" there is no dual step, and `constraints.fixed_penalty` takes the
    multipliers' place.

    A skip weight that is frozen by `requires_grad_(False)` is left where it is, and so are its multipliers, as long as
    it is frozen.

    Nothing in a step waits for the device: the account is kept in buffers, which go into checkpoints. A record holds a
    copy of skip weights and multipliers; `TrainResult.layers` has those of all records, a row for each layer.

    Args:
        skip_weight: the network's parameter alpha, shape (L,), in [0, 1]; it is changed in place.
        config: learning rates, cap and schedule.
        num_steps: number of steps of the whole training.

    Attributes:
        multipliers: the `Multipliers`, one per layer.

    Raises:
        ValueError: for a skip weight outside [0, 1], or NaN.
    """

    capped: Tensor
    first_zero_step: Tensor
    last_nonzero_step: Tensor
    has_begun: Tensor
    initial: Tensor
    starts: Tensor

    def __init__(self, skip_weight: nn.Parameter, config: TrainConfig, num_steps: int) -> None:
        super().__init__()
        is_inside = (skip_weight.detach() >= 0.0) & (skip_weight.detach() <= 1.0)  # False for NaN
        if not bool(is_inside.all()):
            layer = int(is_inside.int().argmin())
            raise ValueError(
                f"Skip weights must be in [0, 1] to be phased out, got {skip_weight[layer].item():.4g} in layer "
                f"{layer + 1}: set them to their initial values first."
            )
        self._skip_weights = (skip_weight,)  # in a tuple: it is the network's, not a parameter of this module
        self.config = config = config if len(skip_weight) > 1 else replace(config, stagger=0.0)
        self.num_steps = num_steps
        dual_lr = config.dual_lr
        if dual_lr is None:
            dual_lr = default_dual_lr(num_steps, float(skip_weight.detach().mean()), config)
        self.multipliers = Multipliers(
            num_constraints=len(skip_weight),
            dual_lr=spread_dual_lr(dual_lr, config.dual_lr_spread, len(skip_weight)),
            damping=config.damping,
            gain=config.dual_gain,
            smoothing=config.dual_smoothing,
            growth=config.dual_growth,
        )
        violation = self.violation().detach()
        self.register_buffer("initial", skip_weight.detach().clone())
        self.register_buffer("first_zero_step", torch.where(violation == 0, 0, NEVER))
        self.register_buffer("capped", torch.zeros_like(violation, dtype=torch.bool))  # did the cap lower it?
        self.register_buffer("last_nonzero_step", torch.where(violation.any(dim=-1), 0, -1))
        starts = removal_starts(
            num_steps, config.removing_by, config.staggering, len(skip_weight), config.remove_from
        )
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("has_begun", torch.tensor(config.remove_from == 0.0))
        self.to(skip_weight.device, skip_weight.dtype)

    @property
    def skip_weight(self) -> nn.Parameter:
        """The network's skip weights alpha, shape (L,)."""
        return self._skip_weights[0]

    def violation(self) -> Tensor:
        """Return how far each skip weight is from its target, shape (L,): alpha_l, or 1 - alpha_l for target 1."""
        return self.skip_weight if self.config.skip_target == 0.0 else 1.0 - self.skip_weight

    def penalty(self) -> Tensor:
        """Return the Lagrangian less the loss, a scalar: what multipliers or penalty add to the loss."""
        violation = self.violation() * self.has_begun.unsqueeze(-1)
        if self.config.skip_schedule == "penalty":
            return fixed_penalty(violation, self.config.skip_penalty)
        return self.multipliers.penalty(violation)

    def gradient(self) -> Tensor | None:
        """Return what the primal step follows, shape (L,); None where a network leaves its skip weights out."""
        if self.config.skip_gradient or self.config.is_scheduled:
            return self.skip_weight.grad
        with torch.enable_grad():
            return torch.autograd.grad(self.penalty().sum(), self.skip_weight)[0]

    def cap(self, step: int) -> float:
        """Return the bound on every violation after `step` steps: with a stagger, that of the layer which goes last."""
        return float(self.caps(step).max())

    def progress(self, step: int) -> Tensor:
        """Return how much of each layer's own window has passed after `step` steps, shape (L,), from 0 to 1.

        What is 1 up to rounding is 1: the last window ends with the training where remove_by is 1.
        """
        share = 1.0 - abs(self.config.staggering)
        window = share * (self.config.removing_by - self.config.remove_from) * self.num_steps
        passed = ((step - self.starts) / window).clamp_(0.0, 1.0)
        return passed.masked_fill_(passed > 1.0 - ROUNDING / share, 1.0)

    def caps(self, step: int) -> Tensor:
        """Return the bounds on the layers' violations after `step` steps, shape (L,)."""
        if self.config.staggering == 0.0 or self.config.remove_by is None:
            return self.for_all(
                falling_cap(step, self.num_steps, self.config.remove_by, self.config.remove_from)
            )
        return (2.0 - 2.0 * self.progress(step)).clamp_(max=1.0)

    def scheduled(self, step: int) -> Tensor:
        """Return what fraction of its initial violation a schedule leaves each layer, shape (L,)."""
        schedule, remove_by = self.config.skip_schedule, self.config.removing_by
        if self.config.staggering == 0.0:
            return self.for_all(
                scheduled_skip_weight(schedule, step, self.num_steps, 1.0, remove_by, self.config.remove_from)
            )
        passed = self.progress(step)
        left = [scheduled_skip_weight(schedule, t, 1, 1.0, 1.0) for t in passed.flatten().tolist()]
        return self.skip_weight.new_tensor(left).view_as(passed)

    def for_all(self, value: float) -> Tensor:
        """Return a value once for each layer, in double precision."""
        return torch.full_like(self.starts, value, dtype=torch.float64)

    @torch.no_grad()
    def step(self, step: int) -> None:
        """Do the primal step, the projection and the dual step that end training step number `step` (from 1)."""
        alpha, config = self.skip_weight, self.config
        if not alpha.requires_grad:  # frozen
            pass
        elif config.is_scheduled:
            share = self.scheduled(step)
            if config.skip_target == 0.0:
                alpha.copy_(self.initial * share.to(alpha))
            else:
                alpha.copy_(torch.lerp(self.initial, torch.ones_like(alpha), (1.0 - share).to(alpha)))
        else:
            caps = self.caps(step)
            # Before the gradient's noise:
            is_on_its_way = (self.first_zero_step == NEVER) | (self.violation() > FLICKER)
            if (gradient := self.gradient()) is not None:
                alpha.sub_(gradient, alpha=config.skip_lr)
            self.capped |= (self.violation() > caps) & (caps < 1.0) & is_on_its_way
            project(alpha, caps, config.skip_target)
            if config.skip_schedule == "multipliers":
                self.multipliers.dual_step(self.violation(), is_open=self.starts < step)
            self.has_begun.fill_(step >= config.remove_from * self.num_steps)
        violation = self.violation()
        self.first_zero_step.masked_fill_((self.first_zero_step == NEVER) & (violation == 0), step)
        self.last_nonzero_step.masked_fill_(violation.any(dim=-1), step)

    @property
    def removed_at_step(self) -> int | None:
        """The step since which all skip weights have been at their target, or None while one is not."""
        return None if bool(self.violation().detach().any()) else int(self.last_nonzero_step) + 1

    @property
    def first_zero_steps(self) -> list[int | None]:
        """For each layer the step at which its skip weight was at its target for the first time, or None."""
        return [None if step == NEVER else step for step in self.first_zero_step.tolist()]

    @property
    def num_capped(self) -> int:
        """Number of layers whose violation the cap has lowered, flickers at 0 aside."""
        return int(self.capped.sum())

    @property
    def removal(self) -> str:
        """Since when all skips are removed, and how they were, in words; empty while something is left."""
        if self.removed_by is None:
            return ""
        bound = f"falling bound (cap; layers: {self.num_capped})"
        who = bound if self.removed_by == "cap" else self.removed_by
        return f"All removed since step {self.removed_at_step}, by the {who}."

    @property
    def removed_by(self) -> str | None:
        """Who brought the skip weights to their target; None while one is not there.

        "multipliers" or "penalty" means that every skip weight came to its target without the cap. From then on
        the noise of the gradient may lift a weight off it now and then; that the cap ends such a flicker does
        not count. "cap" means that it moved at least one weight that was on its way, or had come back to stay
        more than 0.01 away. "schedule" is any schedule that set the weights.
        """
        if self.removed_at_step is None:
            return None
        if self.config.is_scheduled:
            return "schedule"
        return "cap" if self.num_capped else self.config.skip_schedule


def default_dual_lr(num_steps: int, skip_weight: float, config: TrainConfig) -> float:
    """Return the geometric mean of the dual learning rates with which the multipliers finish just in time.

    The slowest layer's skip is to be removed when the cap comes down to 0, by `predict_removal_step` with a slope
    of 0.3 nats per unit of violation: any later would be the cap's work. Measured slopes are near 0, so that skips are
    removed earlier than that, the earlier the longer the training: without a stagger the clock ends
    at 92 % of that time in 780 steps, at 55 % in 12,000. (On its way down the cap may still touch a
    skip that waits at 1 for its multiplier, in a long training above all.) With a stagger it is to be removed after
    three quarters of its window, which leaves the cap nothing to do.

    Args:
        num_steps: number of steps of the whole training.
        skip_weight: initial skip weight, in [0, 1].
        config: skip_lr, skip_target, dual_lr_spread, stagger, remove_from and remove_by.

    Returns:
        dual_lr; 0 where the skip weight is at its target, or cannot move.
    """
    violation = abs(skip_weight - config.skip_target)
    if violation == 0.0 or config.skip_lr == 0.0:
        return 0.0
    removal_step = (config.removing_by - config.remove_from) * num_steps
    if config.staggering:
        removal_step *= IN_TIME * (1.0 - abs(config.staggering))
    slowest = size_dual_lr(removal_step, violation, config.skip_lr, MARGIN)
    return slowest * max(config.dual_lr_spread, 1.0 / config.dual_lr_spread)
