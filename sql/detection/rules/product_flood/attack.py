"""The attack that the rule product_flood looks for: many users at one product."""

import math

from evaluation.lab import AttackPlan, Lab, Limit, Step


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """Let many users view one product during one window, each once. Each attack has a product of its own."""
    start = lab.start(number, of, limit.window_s)
    product = lab.survey.products[number % len(lab.survey.products)]
    usual = limit.values["factor"] * lab.usual_events(start, limit.window_s, product)
    steps = [
        Step(start + lab.random.randrange(limit.window_s), lab.new_user(), lab.new_session(), product)
        for _ in range(max(lab.amount(limit, intensity), math.ceil(usual * intensity)))
    ]
    return AttackPlan(f"product#{product['product_id']}", steps)
