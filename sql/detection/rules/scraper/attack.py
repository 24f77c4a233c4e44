"""The attack that the rule scraper looks for: one user reads product after product, patiently."""

from evaluation.lab import AttackPlan, Lab, Limit


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """View different products during one window and put none of them into the cart."""
    amount = lab.amount(limit, intensity)
    seconds = lab.spread(lab.start(number, of, limit.window_s), limit.window_s, amount)
    return lab.by_one_user(zip(seconds, lab.products(amount), strict=True))
