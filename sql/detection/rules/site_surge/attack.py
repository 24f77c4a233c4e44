"""The attack that the rule site_surge looks for: very many users who each do little."""

import math

from evaluation.lab import AttackPlan, Lab, Limit, Step

SPARSE = True  # the rule compares with the time before
WINDOWS = 3
MOST_VIEWS = 3  # of a user, so that no user is loud


def plan(lab: Lab, limit: Limit, intensity: float, number: int, of: int) -> AttackPlan:
    """Let very many users view a few products each, for three windows."""
    start = lab.start(number, of, WINDOWS * limit.window_s)
    allowed = max(limit.threshold, limit.values["factor"] * lab.usual_events(start, limit.window_s))
    amount = math.ceil(allowed * intensity) * WINDOWS
    steps: list[Step] = []
    while len(steps) < amount:
        user_id, session = lab.new_user(), lab.new_session()
        for _ in range(lab.random.randint(1, MOST_VIEWS)):
            second = start + lab.random.randrange(WINDOWS * limit.window_s)
            steps.append(Step(second, user_id, session, lab.random.choice(lab.survey.products)))
    return AttackPlan("site", steps[:amount])
