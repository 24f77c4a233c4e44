"""The attack that the rule burst looks for: one user takes many actions within seconds."""

from evaluation.lab import AttackPlan, Lab, Limit


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """View products all at once, on both sides of a boundary of tumbling windows, or evenly: in turns."""
    amount, span = lab.amount(limit, intensity), limit.window_s - 1
    start = lab.start(number, of, limit.window_s)
    kind = (number + number // 3) % 3  # each kind with each of three intensities
    if kind == 0:
        seconds = [start] * amount
    elif kind == 1:
        boundary = -(-start // limit.window_s) * limit.window_s
        half = amount // 2
        seconds = [boundary - 1 - step % 3 for step in range(half)]
        seconds += [boundary + step % 3 for step in range(amount - half)]
    else:
        seconds = [start + step * span // (amount - 1) for step in range(amount)]
    return lab.by_one_user(zip(sorted(seconds), lab.products(amount), strict=True))
