"""The attack that the rule cart_hoarder looks for: one user fills the cart and buys nothing."""

from evaluation.lab import AttackPlan, Lab, Limit, Step


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """View products during one window and put each of them into the cart."""
    amount = lab.amount(limit, intensity)
    seconds = lab.spread(lab.start(number, of, limit.window_s), limit.window_s, amount)
    user_id, session = lab.new_user(), lab.new_session()
    steps = []
    for second, product in zip(seconds, lab.products(amount), strict=True):
        steps += [Step(second, user_id, session, product), Step(second, user_id, session, product, "cart")]
    return AttackPlan(f"user#{user_id}", steps)
