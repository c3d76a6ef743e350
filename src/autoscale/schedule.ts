import { z } from 'zod';

export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
type Day = (typeof DAYS)[number];

const CLOCK = /^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/;
const clock = z.string().regex(CLOCK, 'must be a time from 00:00 to 24:00');

/**
 * A minimum for a part of certain days, by the clock on the wall. Where `from` is later than `to`, the window is the rest
 * of the day: all before `to` and all from `from` on.
 */
export const Schedule = z
  .strictObject({ days: z.array(z.enum(DAYS)).min(1), from: clock, to: clock, min: z.int().min(0) })
  .refine(({ from, to }) => from !== to, 'from and to must differ; a whole day is 00:00 to 24:00');
export type Schedule = z.infer<typeof Schedule>;

const clocks = new Map<string, Intl.DateTimeFormat>();

/** Day and time that the clock on the wall of a time zone shows. */
function wallClock(ms: number, timezone: string): { day: Day; time: string } {
  const format =
    clocks.get(timezone) ??
    new Intl.DateTimeFormat('en-GB', {
      timeZone: timezone,
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    });
  clocks.set(timezone, format);
  const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
  return {
    day: parts.get('weekday')?.toLowerCase() as Day,
    time: `${parts.get('hour')}:${parts.get('minute')}`,
  };
}

function covers({ days, from, to }: Schedule, day: Day, time: string): boolean {
  if (!days.includes(day)) return false;
  return from < to ? time >= from && time < to : time >= from || time < to;
}

/**
 * The highest minimum that holds at a moment, 0 where none does. Daylight saving needs no care: what counts is what the
 * clock shows.
 *
 * @param ms since 1970
 * @param timezone a name of the IANA data base, e.g. `Europe/Berlin`
 */
export function scheduledMinimum(schedules: readonly Schedule[], timezone: string, ms: number): number {
  if (schedules.length === 0) return 0;
  const { day, time } = wallClock(ms, timezone);
  return Math.max(0, ...schedules.filter((schedule) => covers(schedule, day, time)).map(({ min }) => min));
}
