-- title: Unjudged events, counted by reason
-- grain: one row per reason and ${step_s} s of the clock in which there was such an event
-- step_s: 10
-- What the rules leave out, or at least some of them: an attacker who sends wrong times shall not be invisible. `undated`
-- has no time to go by, `ahead` one too far ahead of the clock (source.sql), `late` one behind the watermark of its
-- shard: rules with windows drop it once its windows are closed. Counted by the clock, as these events have no time that
-- counts; it is the filter right behind the source that costs next to nothing, for good events go no further.
insert into unjudged
select
  reason,
  date_format(window_end, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as counted_at,
  count(*) as event_count
from table(
  tumble(
    (
      select reason, arrived_at
      from (
        select
          case
            when event_at > to_timestamp_ltz(0, 3)
              then case
                when user_id is null then 'no_user'
                when event_at <= current_watermark(event_at) then 'late' -- there is none before the first event
              end
            when txn_timestamp >= to_timestamp_ltz(1000, 3) then 'ahead'
            else 'undated'
          end as reason,
          proctime() as arrived_at
        from raw_events
      )
      where reason is not null
    ),
    descriptor(arrived_at),
    interval '${step_s}' second(3)
  )
)
group by reason, window_start, window_end
