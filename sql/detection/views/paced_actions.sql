-- title: What users do, as far as anybody must know of it
-- grain: one row per action, of each user at most ${most_per_minute} a minute
-- most_per_minute: 1000
-- The lists of user_windows grow with every row, and each time they are copied: who does thousands of things a minute
-- would bring the job to a standstill. Who reaches this number is far above every threshold already.
create temporary view paced_actions as
select user_id, event_at, event_type, product_id, user_session
from (
  select *, count(*) over (partition by user_id, minute_start order by arrived_at) as place
  from (
    select *, floor(cast(event_at as timestamp(3)) to minute) as minute_start, proctime() as arrived_at
    from actions
  )
)
where place <= ${most_per_minute}
