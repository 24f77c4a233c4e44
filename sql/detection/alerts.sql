-- A rule gives a row for every window above its threshold. An attack alerts when it starts and at each new highest
-- level. It is over ${quiet_s} s after its last window above the threshold. Rows are ordered by arrival: one subtask
-- sends all rows of a subject, in the order of their windows (docs/adr/0002).
insert into alerts
with
levelled as (
  -- Level 1 starts above the threshold, and each doubling of the count is one more: the number of binary digits, which
  -- needs no logarithm.
  select *, char_length(bin(num_actions_per_watermark / (threshold + 1))) as level
  from (${findings})
),

followed as (
  select *, lag(window_end_at) over arrivals as previous_end_at
  from (select *, proctime() as arrived_at from levelled)
  window arrivals as (partition by rule, subject order by arrived_at)
),

grouped as (
  select *, sum(begins) over arrivals as attack
  from (
    select *, case when previous_end_at + interval '${quiet_s}' second(3) > window_start_at then 0 else 1 end as begins
    from followed
  )
  window arrivals as (partition by rule, subject order by arrived_at)
),

heightened as (
  select *, max(level) over arrivals as height
  from grouped
  where attack > 0 -- always true; without a condition in between, Flink 1.20 gives columns of two OVERs the same name
  window arrivals as (partition by rule, subject, attack order by arrived_at)
),

numbered as (
  select *, row_number() over (partition by rule, subject, attack, height order by arrived_at) as place
  from heightened
)

select
  concat_ws(':', rule, subject, date_format(window_end_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')) as alert_id,
  rule,
  subject,
  date_format(window_start_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as window_start_at,
  date_format(window_end_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as window_end_at,
  num_actions_per_watermark,
  threshold,
  cast(height as bigint) as level
from numbered
where place = 1
