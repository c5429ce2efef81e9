import { describe, expect, it } from 'vitest'
import { checkMessageSize, templateMessages } from '../../../src/text/chat-messages.ts'

const LIMITS = { maxMessages: 3, maxChars: 200 }

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < depth; level += 1) value = [value]
  return value
}

describe('templateMessages', () => {
  it('leaves absent fields absent, because templates ask whether they are there', () => {
    expect(templateMessages([{ role: 'user', content: 'Hi' }])).toEqual([
      { role: 'user', content: 'Hi' },
    ])
  })

  it('leaves arguments that are an object, and calls of another kind, as they are', () => {
    const toolCalls = [{ function: { name: 'f', arguments: { x: 1 } } }, { type: 'custom' }, 'odd']
    expect(templateMessages([{ role: 'assistant', content: null, toolCalls }])).toEqual([
      { role: 'assistant', content: '', tool_calls: toolCalls },
    ])
  })

  it.each(['{"x": ', '[1]', '3', 'null'])('refuses the arguments %s and says where', (text) => {
    const toolCalls = [{ function: { name: 'f', arguments: text } }]
    const messages = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: null, toolCalls },
    ]
    expect(() => templateMessages(messages)).toThrow(
      expect.objectContaining({ code: 'TEXT_BAD_TOOL_ARGUMENTS', param: 'messages' }),
    )
    expect(() => templateMessages(messages)).toThrow(/messages\[1\]/)
  })
})

describe('checkMessageSize', () => {
  const text = (length: number) => ({ role: 'user', content: 'x'.repeat(length) })

  it('takes what is within the limits', () => {
    expect(() => checkMessageSize([text(50), text(50)], [{ a: 1 }], LIMITS)).not.toThrow()
  })

  it.each([
    ['too many messages', Array.from({ length: 4 }, () => text(1)), null, 'messages'],
    ['too much text in messages', [text(150), text(50)], null, 'messages'],
    ['too much text in tools', [text(100)], ['y'.repeat(90)], 'tools'],
    ['too many values without text', [text(1)], Array.from({ length: 300 }, () => 0), 'tools'],
    ['tools that nest too deep', [text(1)], [nested(100)], 'tools'],
    ['tools that nest deeper than the stack', [text(1)], [nested(100_000)], 'tools'],
  ])('refuses %s and names the field', (_name, messages, tools, param) => {
    expect(() => checkMessageSize(messages, tools, LIMITS)).toThrow(
      expect.objectContaining({ code: 'TEXT_MESSAGES_TOO_LARGE', status: 400, param }),
    )
  })
})
