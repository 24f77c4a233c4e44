"""The attack that the rule session_rotator looks for: one user starts session after session."""

from evaluation.lab import AttackPlan, Lab, Limit, Step


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """View products during one window, each in a new session."""
    amount = lab.amount(limit, intensity)
    seconds = lab.spread(lab.start(number, of, limit.window_s), limit.window_s, amount)
    user_id = lab.new_user()
    views = zip(seconds, lab.products(amount), strict=True)
    return AttackPlan(
        f"user#{user_id}", [Step(second, user_id, lab.new_session(), product) for second, product in views]
    )
