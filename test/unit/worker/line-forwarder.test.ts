import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { LineForwarder } from '../../../src/worker/line-forwarder.ts'

function forwarded(chunks: readonly (string | Buffer)[]) {
  const lines: string[] = []
  const forwarder = new LineForwarder((line) => lines.push(line))
  const stream = new PassThrough()
  forwarder.forward(stream)
  for (const chunk of chunks) stream.emit('data', Buffer.from(chunk))
  stream.emit('end')
  return { lines, lastWords: forwarder.lastWords }
}

it('joins chunks to lines and gives the unfinished one at the end', () => {
  expect(forwarded(['a', 'b\nc\r\n\n', 'd']).lines).toEqual(['ab', 'c', 'd'])
})

it('joins a character that came in two chunks', () => {
  const bytes = Buffer.from('ü\n')
  expect(forwarded([bytes.subarray(0, 1), bytes.subarray(1)]).lines).toEqual(['ü'])
})

it('cuts a line that does not end instead of keeping it', () => {
  const { lines } = forwarded(Array.from({ length: 100 }, () => 'x'.repeat(1000)))
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(4096)
  expect(lines.length).toBeGreaterThan(15)
})

it('remembers the last three lines', () => {
  expect(forwarded(['1\n2\n3\n4\n']).lastWords).toBe('2 | 3 | 4')
})
