"""Controls: shoppers who look like attackers but are none. No rule may flag them."""

from dataclasses import replace

from evaluation.lab import AttackPlan, Lab, Step

PAUSE_S = 15  # between two of their actions: longer than the longest window of seconds
CHECKOUT_ITEMS = 12  # bought at once
ECHOES = 6  # deliveries of each event
EMPTIED_ITEMS = 8  # removed at once
REORDERED_ITEMS = 7
REMOVED_ITEMS = 4  # one after the other, each recorded twice
TRIED_ITEMS, TRIED_S = 20, 600  # put into the cart in so long
GUESTS = 30  # at the same time
SHARERS, SHARED_S, SHARER_VIEWS = 600, 3_600, 3  # people of one address, in so long, each with so many views
# Of a product that is popular and then on sale: how long, and visitors per second at the start and at the end of each.
POPULAR, SALE = (600, 2.0, 2.0), (300, 5.0, 12.0)
BUYERS = 10  # one of so many visitors buys


def plan_five_tabs(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Open five products at once, each in a tab, between two single views."""
    start = lab.start(number, of, 3 * PAUSE_S)
    views = zip([0, 1, 1, 1, 1, 1, 2], lab.products(7), strict=True)
    return lab.by_one_user((start + pause * PAUSE_S, product) for pause, product in views)


def plan_big_checkout(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Fill a cart slowly and buy all of it in one second."""
    return _all_at_once(_filled_cart(lab, number, of, CHECKOUT_ITEMS), "purchase")


def plan_echo(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """View a product now and then. Each event is delivered several times."""
    start = lab.start(number, of, 3 * PAUSE_S)
    views = zip(range(3), lab.products(3), strict=True)
    plan = lab.by_one_user((start + pause * PAUSE_S, product) for pause, product in views)
    return AttackPlan(plan.subject, [step for step in plan.steps for _ in range(ECHOES)])


def plan_emptied_cart(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Fill a cart slowly and empty it in one second."""
    return _all_at_once(_filled_cart(lab, number, of, EMPTIED_ITEMS), "remove_from_cart")


def plan_reorder(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Put the products of an earlier order into the cart in one second, and buy them in another one soon after."""
    start = lab.start(number, of, 2 * PAUSE_S)
    user_id, session = lab.new_user(), lab.new_session()
    products = list(lab.products(REORDERED_ITEMS))
    bought_at = start + lab.random.randint(5, PAUSE_S)
    steps = [Step(start, user_id, session, product, "cart") for product in products]
    steps += [Step(bought_at, user_id, session, product, "purchase") for product in products]
    return AttackPlan(f"user#{user_id}", steps)


def plan_double_removals(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Remove products within ten seconds. The server records each removal again, one or two seconds later."""
    carts = _filled_cart(lab, number, of, REMOVED_ITEMS, pauses=2)
    removed_at = carts[-1].second + PAUSE_S
    removals = []
    for place, cart in enumerate(carts):
        first = removed_at + 2 * place
        again = first + 1 + place % 2
        removals += [replace(cart, second=second, event_type="remove_from_cart") for second in (first, again)]
    return AttackPlan(carts[0].actor, [*carts, *removals])


def plan_changed_mind(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Put many products into the cart within ten minutes, and soon remove two of each three again."""
    start = lab.start(number, of, TRIED_S)
    user_id, session = lab.new_user(), lab.new_session()
    pause = TRIED_S // TRIED_ITEMS
    steps = []
    for place, product in enumerate(lab.products(TRIED_ITEMS)):
        put_at = start + place * pause
        steps.append(Step(put_at, user_id, session, product, "cart"))
        if place % 3:
            steps.append(Step(put_at + pause // 2, user_id, session, product, "remove_from_cart"))
    return AttackPlan(f"user#{user_id}", steps)


def plan_guests(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Let many guests do little in the same seconds: two views and a cart, each guest in a session of its own.

    Judged as one, they would be a burst, a scraper, a hoarder and a rotator of sessions.
    """
    start = lab.start(number, of, 3 * PAUSE_S)
    sessions = [lab.new_session() for _ in range(GUESTS)]
    doings = [(pause, kind, session) for pause, kind in enumerate(("view", "view", "cart")) for session in sessions]
    steps = [
        Step(start + pause * PAUSE_S, None, session, product, kind)
        for (pause, kind, session), product in zip(doings, lab.products(len(doings)), strict=True)
    ]
    return AttackPlan(steps[0].actor, steps)


def plan_shared_address(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Let many people shop from one address, of a company or a carrier, within an hour, each at human pace."""
    start = lab.start(number, of, SHARED_S)
    address = lab.new_address()
    steps = []
    for _ in range(SHARERS):
        user_id, session = lab.new_user(), lab.new_session()
        begin = start + lab.random.randrange(SHARED_S - SHARER_VIEWS * 2 * PAUSE_S)
        for place, product in enumerate(lab.products(SHARER_VIEWS)):
            at = begin + 2 * PAUSE_S * place + lab.random.randrange(PAUSE_S)
            steps.append(Step(at, user_id, session, product, client_ip=address))
    return AttackPlan(f"ip#{address}", steps)


def plan_flash_sale(lab: Lab, intensity: float, number: int, of: int) -> AttackPlan:
    """Let many people look at a popular product, each once, and very many while it is on sale. Some buy it."""
    start = lab.start(number, of, POPULAR[0] + SALE[0] + 2 * PAUSE_S)
    product = lab.random.choice(lab.survey.products)
    steps = []
    for length_s, first, last in (POPULAR, SALE):
        rates = [first + (last - first) * second / length_s for second in range(length_s)]
        for second in lab.random.choices(range(length_s), rates, k=round(sum(rates))):
            user_id, session = lab.new_user(), lab.new_session()
            kinds = ("view", "cart", "purchase") if lab.random.randrange(BUYERS) == 0 else ("view",)
            at = start + second
            steps += [Step(at + PAUSE_S * place, user_id, session, product, kind) for place, kind in enumerate(kinds)]
        start += length_s
    return AttackPlan(f"product#{product['product_id']}", steps)


def _filled_cart(lab: Lab, number: int, of: int, items: int, pauses: int = 1) -> list[Step]:
    """Return what fills a cart slowly, with so many pauses left after it."""
    start = lab.start(number, of, (items + pauses) * PAUSE_S)
    user_id, session = lab.new_user(), lab.new_session()
    return [
        Step(start + place * PAUSE_S, user_id, session, product, "cart")
        for place, product in enumerate(lab.products(items))
    ]


def _all_at_once(carts: list[Step], event_type: str) -> AttackPlan:
    """Return a plan in which this happens to all of a cart in one second, a pause later."""
    at = carts[-1].second + PAUSE_S
    return AttackPlan(carts[0].actor, [*carts, *(replace(cart, second=at, event_type=event_type) for cart in carts)])


CONTROLS = {
    "five_tabs": plan_five_tabs,
    "big_checkout": plan_big_checkout,
    "echo": plan_echo,
    "emptied_cart": plan_emptied_cart,
    "reorder": plan_reorder,
    "double_removals": plan_double_removals,
    "changed_mind": plan_changed_mind,
    "guests": plan_guests,
    "shared_address": plan_shared_address,
    "flash_sale": plan_flash_sale,
}

# They are so large that there are only a few.
LARGE = frozenset({"shared_address", "flash_sale"})
