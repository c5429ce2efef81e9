/**
 * Python's `strftime` in the C locale and local time, as far as chat templates use it. Owns nothing. An unknown
 * directive stays as it is written.
 */

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const

const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
] as const

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => pad(date.getFullYear(), 4),
  y: (date) => pad(date.getFullYear() % 100, 2),
  m: (date) => pad(date.getMonth() + 1, 2),
  d: (date) => pad(date.getDate(), 2),
  B: (date) => MONTHS[date.getMonth()] as string,
  b: (date) => (MONTHS[date.getMonth()] as string).slice(0, 3),
  A: (date) => DAYS[date.getDay()] as string,
  a: (date) => (DAYS[date.getDay()] as string).slice(0, 3),
  H: (date) => pad(date.getHours(), 2),
  I: (date) => pad(date.getHours() % 12 || 12, 2),
  M: (date) => pad(date.getMinutes(), 2),
  S: (date) => pad(date.getSeconds(), 2),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  j: (date) => pad(dayOfYear(date), 3),
  F: (date) => strftime('%Y-%m-%d', date),
  T: (date) => strftime('%H:%M:%S', date),
  '%': () => '%',
}

/** `strftime('%d %b %Y', date)` → `23 Nov 2026` */
export function strftime(format: string, date: Date): string {
  return format.replace(/%([A-Za-z%])/g, (whole, name: string) => DIRECTIVES[name]?.(date) ?? whole)
}

function dayOfYear(date: Date): number {
  // In UTC, so that a day of 23 hours does not count as none.
  const day = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate())
  return (day - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0')
}
