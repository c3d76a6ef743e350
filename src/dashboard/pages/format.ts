const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

export function bytes(count: number): string {
  const power = count < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log(count) / Math.log(1024)));
  const value = count / 1024 ** power;
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** A length of time, short: `45 ms`, `3.2 s`, `5 min`, `2 h 10 min`, `3 d`. */
export function duration(seconds: number | null): string {
  if (seconds === null) return '-';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`;
}

export const ago = (iso: string) => `${duration(Math.max(0, (Date.now() - Date.parse(iso)) / 1000))} ago`;

/** Day and time where this browser is; the day only where it is not today. */
export function moment(iso: string | null): string {
  if (iso === null) return '-';
  const date = new Date(iso);
  const time = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString()} ${time}`;
}

export const percent = (part: number | null) =>
  part === null ? '-' : `${(part * 100).toFixed(part > 0.999 && part < 1 ? 2 : 1)} %`;

export const number = (value: number) => value.toLocaleString();

export const words = (state: string) => state.replaceAll('_', ' ').toLowerCase();
