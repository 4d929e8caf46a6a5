"""The multipliers, their ascent, and the projection of the skip weights."""

import math

import torch
from torch import Tensor, nn

from van_tutorial._checks import check_count, check_range

MOST_GROWN = 1e12  # times the learning rate given: far from infinity, which times 0 would be NaN


class Multipliers(nn.Module):
    """Hold one Lagrange multiplier per constraint alpha_l = 0, and raise each by gradient ascent.

    The rule has two extensions, which are off by default. With v_l = alpha_l, xi_l its running average, and c_l the
    weight of the quadratic term:

        xi_l      <- smoothing xi_l + (1 - smoothing) v_l            0 in the first dual step of l
        lambda_l  <- lambda_l + dual_lr_l (v_l + gain (xi_l - xi_l of the step before))
        dual_lr_l <- growth dual_lr_l,  c_l <- growth c_l            where v_l is not 0

    `gain` makes it a PI controller (nuPI): after the first step a multiplier is that of plain ascent plus
    dual_lr_l gain xi_l. It falls with its skip weight, which damps the oscillation as a quadratic term of weight
    dual_lr_l gain does. `growth` with damping = dual_lr is the method of multipliers (the augmented Lagrangian with an
    increasing penalty): multipliers rise faster and faster until their skips are removed, however low the price.

    The multipliers are buffers, so that devices and checkpoints come with the module.

    Args:
        num_constraints: number of constraints L.
        dual_lr: learning rate of the ascent, one for all or a tensor of shape (L,); at least 0.
        init: initial value of every multiplier.
        damping: weight c of the quadratic term c/2 alpha_l^2, at least 0. Without projection, c of
            2 sqrt(dual_lr / skip_lr) damps the oscillation of (alpha, lambda) critically.
        gain: proportional gain of the controller, over its integral gain, at least 0; 0 is plain ascent, 1 with
            smoothing 0 the optimistic gradient method.
        smoothing: of the running average that `gain` is for, in (-1, 1).
        growth: factor of learning rate and damping in each dual step of a violated constraint, at least 1.

    Raises:
        ValueError: for no constraint, learning rates of another shape, or a value outside these bounds.

    Example:
        >>> multipliers = Multipliers(num_constraints=2, dual_lr=0.5)
        >>> alpha = torch.tensor([1.0, 0.2])
        >>> multipliers.dual_step(alpha)
        >>> multipliers.values
        tensor([0.5000, 0.1000])
        >>> multipliers.penalty(alpha)
        tensor(0.5200)

    Source:
        Platt and Barr 1987, Constrained differential optimization, the basic and the modified differential
        multiplier method; Sohrabi et al. 2024, On PI controllers for updating Lagrange multipliers in constrained
        optimization (arXiv 2406.04558), algorithm 1; Nocedal and Wright 2006, Numerical optimization, section 17.3.
    """

    values: Tensor
    dual_lr: Tensor
    average: Tensor
    grown: Tensor

    def __init__(
        self,
        num_constraints: int,
        dual_lr: float | Tensor = 1e-3,
        init: float = 0.0,
        damping: float = 0.0,
        gain: float = 0.0,
        smoothing: float = 0.0,
        growth: float = 1.0,
    ) -> None:
        super().__init__()
        check_count("num_constraints", num_constraints)
        check_range("damping", damping, 0.0, math.inf)
        check_range("gain", gain, 0.0, math.inf)
        check_range("smoothing", smoothing, -1.0, 1.0, open_low=True, open_high=True)
        check_range("growth", growth, 1.0, math.inf)
        dual_lrs = torch.as_tensor(dual_lr, dtype=torch.get_default_dtype())
        if dual_lrs.shape not in ((), (num_constraints,)):
            raise ValueError(
                f"dual_lr must be one number or a tensor of shape ({num_constraints},), "
                f"got shape {tuple(dual_lrs.shape)}."
            )
        if not bool((dual_lrs >= 0).all()):  # false for NaN as well
            raise ValueError(f"dual_lr must be at least 0, got {dual_lr!r}.")
        self.damping = damping
        self.gain, self.smoothing, self.growth = gain, smoothing, growth
        self.register_buffer("values", torch.full((num_constraints,), float(init)))
        self.register_buffer(
            "average", torch.full((num_constraints,), math.nan)
        )  # NaN before the first dual step
        self.register_buffer("grown", torch.ones(num_constraints))
        self.register_buffer("dual_lr", dual_lrs.expand(num_constraints).clone())

    def penalty(self, alpha: Tensor) -> Tensor:
        """Return sum_l lambda_l alpha_l + c_l / 2 alpha_l^2, a scalar to be added to the loss.

        The multipliers are constants in it: its gradient reaches alpha alone. c_l is `damping`, times what `growth`
        has made of it.

        Args:
            alpha: skip weights, shape (L,).
        """
        penalty = torch.linalg.vecdot(self.values, alpha)
        if self.damping:
            penalty = penalty + 0.5 * self.damping * torch.linalg.vecdot(self.grown * alpha, alpha)
        return penalty

    @torch.no_grad()
    def dual_step(self, alpha: Tensor, is_open: Tensor | None = None) -> None:
        """Raise the multipliers in place: lambda_l <- lambda_l + dual_lr_l alpha_l, with the extensions above.

        Args:
            alpha: skip weights after the primal step and the projection, shape (L,).
            is_open: which of the constraints take part, shape (L,); None means all. The others stay as they are.
        """
        if is_open is None:
            is_open = torch.ones_like(alpha, dtype=torch.bool)
        violation = alpha * is_open
        error = violation
        if self.gain > 0.0:
            before, is_first = self.average.nan_to_num(), self.average.isnan()
            change = torch.where(is_open & ~is_first, (1.0 - self.smoothing) * (violation - before), 0.0)
            self.average.copy_(torch.where(is_open, before + change, self.average))
            error = violation + self.gain * change
        self.values.addcmul_(self.dual_lr * self.grown, error)
        if self.growth > 1.0:
            self.grown.mul_(torch.where(violation != 0.0, self.growth, 1.0)).clamp_(max=MOST_GROWN)


def fixed_penalty(violation: Tensor, strength: float = 0.25) -> Tensor:
    """Return strength sum_l (1 - (1 - v_l)^2), a scalar to be added to the loss: no multiplier, the same for all.

    For skip weights that are to become 1, v_l = 1 - alpha_l, and this is strength sum_l |1 - alpha_l^2|. Its pull
    2 strength (1 - v_l) is full at the target and fades to nothing at v_l = 1: it parts the layers into those
    that reach their target and those that stay away from it.

    Args:
        violation: how far each skip weight is from its target, shape (L,), in [0, 1].
        strength: in nats, at least 0.

    Example:
        >>> alpha = torch.tensor([0.5, 1.0])
        >>> fixed_penalty(1.0 - alpha)
        tensor(0.1875)

    Source:
        Dror, Zehngut, Raviv, Artyomov, Vitek and Jevnisek 2021, Layer Folding: neural network depth reduction using
        activation linearization (arXiv 2106.09309); the strength of 0.25 is that of their code.
    """
    return strength * torch.linalg.vecdot(violation, 2.0 - violation)


@torch.no_grad()
def project(alpha: Tensor, cap: float | Tensor = 1.0, target: float = 0.0) -> None:
    """Clip skip weights in place to those within `cap` of their target: [0, cap] for 0, [1 - cap, 1] for 1.

    Clipping at 0 treats the constraint as alpha_l <= 0 on the set alpha_l >= 0, whose only solution is
    alpha_l = 0. The equality alone would let alpha swing through 0 to negative values, an "anti-skip", and
    lambda back down with it: a linear loss makes of the two an undamped oscillator. With the clip lambda
    never falls, and alpha stays at 0 as soon as lambda_l is at least -dC/dalpha_l.

    Args:
        alpha: skip weights, shape (L,).
        cap: bound on their distance from the target, in [0, 1]; one for all or a tensor of shape (L,).
        target: 0 or 1.
    """
    bound = torch.as_tensor(
        cap, dtype=None if isinstance(cap, Tensor) else torch.float64, device=alpha.device
    )
    alpha.clamp_((target - bound).clamp(min=0.0).to(alpha), (target + bound).clamp(max=1.0).to(alpha))


def spread_dual_lr(dual_lr: float, spread: float, num_constraints: int) -> Tensor:
    """Return one dual learning rate per layer, falling geometrically from the first layer to the last.

    dual_lr_l = dual_lr * spread^(1 - 2 (l - 1) / (L - 1)) for l = 1, ..., L: from spread * dual_lr down to
    dual_lr / spread, so that with a spread above 1 the skips nearest to the input go first.

    Args:
        dual_lr: the geometric mean of the learning rates, at least 0.
        spread: ratio of the first learning rate to the mean, above 0; 1 gives every layer the same.
        num_constraints: number of layers L.

    Returns:
        Dual learning rates, shape (L,).

    Raises:
        ValueError: for a negative learning rate or a spread that is not above 0.

    Example:
        >>> spread_dual_lr(1.0, spread=4.0, num_constraints=3)
        tensor([4.0000, 1.0000, 0.2500])
    """
    check_range("dual_lr", dual_lr, 0.0, math.inf)
    check_range("dual_lr_spread", spread, 0.0, math.inf, open_low=True)
    check_count("num_constraints", num_constraints)
    exponents = torch.linspace(1.0, -1.0, num_constraints) if num_constraints > 1 else torch.zeros(1)
    return dual_lr * spread**exponents
