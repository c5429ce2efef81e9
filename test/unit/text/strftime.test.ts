import { expect, it } from 'vitest'
import { strftime } from '../../../src/text/strftime.ts'

const AFTERNOON = new Date(2026, 10, 3, 15, 4, 9)

it.each([
  ['%d %b %Y', '03 Nov 2026'],
  ['%A, %B %d, %y', 'Tuesday, November 03, 26'],
  ['%Y-%m-%d %H:%M:%S', '2026-11-03 15:04:09'],
  ['%F %T', '2026-11-03 15:04:09'],
  ['%I:%M %p, day %j, %a', '03:04 PM, day 307, Tue'],
  ['100%% %Q %', '100% %Q %'],
])('writes %s as Python does', (format, expected) => {
  expect(strftime(format, AFTERNOON)).toBe(expected)
})

it('writes midnight and noon as twelve', () => {
  expect(strftime('%I %p', new Date(2026, 0, 1, 0))).toBe('12 AM')
  expect(strftime('%I %p', new Date(2026, 0, 1, 12))).toBe('12 PM')
})
