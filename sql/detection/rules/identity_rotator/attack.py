"""The attack that the rule identity_rotator looks for: one address, and another user for each action."""

from evaluation.lab import AttackPlan, Lab, Limit, Step


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """View products during one window, each as another user. Each attack has an address of its own."""
    amount, address = lab.amount(limit, intensity), lab.new_address()
    seconds = lab.spread(lab.start(number, of, limit.window_s), limit.window_s, amount)
    views = zip(seconds, lab.products(amount), strict=True)
    steps = [Step(at, lab.new_user(), lab.new_session(), product, client_ip=address) for at, product in views]
    return AttackPlan(f"ip#{address}", steps)
