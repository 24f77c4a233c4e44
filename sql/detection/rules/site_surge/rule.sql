-- The threshold of a row is the higher one of the fixed threshold and ${factor} times the baseline. The baseline is the
-- mean of the seconds before the window, within the last ${baseline_s}, in which anything happened. With fewer than
-- ${least_baseline_s} such seconds the rule finds nothing: a job that has just started knows no usual rate.
create temporary view site_surge as
select
  'site_surge' as rule,
  'site' as subject,
  timestampadd(second, -${window_s}, second_start) as window_start_at,
  second_start as window_end_at,
  action_count as num_actions_per_watermark,
  greatest(cast(${threshold} as bigint), baseline_threshold) as threshold
from (
  select
    second_start,
    action_count,
    cast(
      (total_count - action_count) * ${window_s} * ${factor} / (total_seconds - active_seconds) as bigint
    ) as baseline_threshold
  from (
    select
      second_start,
      action_count,
      active_seconds,
      sum(actions) over baseline as total_count,
      count(*) over baseline as total_seconds
    from (
      select
        second_start,
        second_at,
        actions,
        sum(actions) over recent as action_count,
        count(*) over recent as active_seconds
      from (
        select
          window_start as second_start,
          window_time as second_at,
          count(*) as actions
        from table(tumble(table actions, descriptor(event_at), interval '1' second))
        group by window_start, window_end, window_time
      )
      window recent as (
        order by second_at range between interval '${window_s_before}' second(3) preceding and current row
      )
    )
    where active_seconds > 0 -- always true; without a condition, Flink 1.20 gives columns of two OVERs the same name
    window baseline as (
      order by second_at range between interval '${baseline_s_before}' second(3) preceding and current row
    )
  )
  where total_seconds - active_seconds >= ${least_baseline_s}
)
where action_count > greatest(cast(${threshold} as bigint), baseline_threshold)
