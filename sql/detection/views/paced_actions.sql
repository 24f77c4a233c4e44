-- The lists of user_windows grow with every row, and Flink copies them each time: a user with thousands of actions a
-- minute would stop the job. A user who reaches this limit is far above every threshold already.
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
