-- Counts the events that all or some rules leave out, so that an attacker who sends wrong times stays visible.
-- `undated`: no usable time. `ahead`: too far ahead of the clock (source.sql). `late`: behind the watermark of the
-- shard; rules with windows drop such an event once its windows are closed. The steps are of the clock, because these
-- events have no usable time. This costs next to nothing: the filter directly after the source removes all other
-- events.
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
                when event_at <= current_watermark(event_at) then 'late' -- null before the first event
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
