"""Controls: shoppers who look like attackers but are none. No rule may flag them."""

from evaluation.lab import AttackPlan, Lab, Step

PAUSE_S = 15  # between two of their actions: longer than the longest window of seconds
CHECKOUT_ITEMS = 12  # bought at once
ECHOES = 6  # deliveries of each event


def plan_five_tabs(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Open five products at once, each in a tab, between two single views."""
    start = lab.start(number, of, 3 * PAUSE_S)
    views = zip([0, 1, 1, 1, 1, 1, 2], lab.products(7), strict=True)
    return lab.by_one_user((start + pause * PAUSE_S, product) for pause, product in views)


def plan_big_checkout(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Fill a cart slowly and buy all of it in one second."""
    start = lab.start(number, of, (CHECKOUT_ITEMS + 1) * PAUSE_S)
    user_id, session = lab.new_user(), lab.new_session()
    products = list(lab.products(CHECKOUT_ITEMS))
    bought_at = start + CHECKOUT_ITEMS * PAUSE_S
    steps = [Step(start + place * PAUSE_S, user_id, session, product, "cart") for place, product in enumerate(products)]
    steps += [Step(bought_at, user_id, session, product, "purchase") for product in products]
    return AttackPlan(f"user#{user_id}", steps)


def plan_echo(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """View a product now and then. Each event is delivered several times."""
    start = lab.start(number, of, 3 * PAUSE_S)
    views = zip(range(3), lab.products(3), strict=True)
    plan = lab.by_one_user((start + pause * PAUSE_S, product) for pause, product in views)
    return AttackPlan(plan.subject, [step for step in plan.steps for _ in range(ECHOES)])


CONTROLS = {"five_tabs": plan_five_tabs, "big_checkout": plan_big_checkout, "echo": plan_echo}
