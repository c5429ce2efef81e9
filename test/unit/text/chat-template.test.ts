import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import { ChatTemplate, type ChatTemplateOptions } from '../../../src/text/chat-template.ts'
import { goldenCases } from '../../support/text-fixtures.ts'

const golden = goldenCases()

/** SmolLM2-Instruct's template, as its GGUF file carries it. */
const SMOLLM2 =
  "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

const STILL = { nowMs: () => 0, wallMs: () => 0 }

const USER = { role: 'user', content: 'Hi' } as const

function chat(
  source: string | Record<string, string>,
  options: ChatTemplateOptions = {},
): ChatTemplate {
  const named = typeof source === 'string' ? { default: source } : source
  const chatTemplates = new Map(Object.entries(named))
  return new ChatTemplate({ chatTemplates, specialTokens: { bos_token: '<s>' } }, options)
}

function failure(act: () => unknown): Record<string, unknown> {
  try {
    act()
  } catch (error) {
    if (!(error instanceof ServingError)) throw error
    const { code, status, param, message } = error
    return { code, status, param, message }
  }
  throw new Error('expected a ServingError')
}

describe('ChatTemplate', () => {
  it('reads the messages, the special tokens and the wish for an answer', () => {
    const template = chat(
      '{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{{ eos_token }}{% if add_generation_prompt %}[assistant]{% endif %}',
    )
    expect(template.render({ messages: [USER], tools: null })).toBe('<s>[user]Hi[assistant]')
    expect(template.render({ messages: [USER], tools: null, addGenerationPrompt: false })).toBe(
      '<s>[user]Hi',
    )
  })

  it('drops the line break after a block and the spaces before one, as transformers does', () => {
    const template = chat(
      '{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\nend',
    )
    expect(template.render({ messages: [USER], tools: null })).toBe('Hi\nend')
  })

  it('gives null content as an empty text, and tool calls with parsed arguments', () => {
    const template = chat(
      "{% for m in messages %}{{ '<' + m.content + '>' }}{% if 'tool_calls' in m %}{{ m.tool_calls | tojson }}{% endif %}{{ m.name }}{{ m.tool_call_id }}{% endfor %}",
    )
    const call = {
      id: 'c1',
      type: 'function',
      function: { name: 'f', arguments: '{"x": [1, "é"]}' },
    }
    const bare = { id: 'c2', type: 'function', function: { name: 'g', arguments: '' } }
    const messages = [
      { role: 'assistant', content: null, toolCalls: [call, bare] },
      { role: 'tool', content: '7', name: 'f', toolCallId: 'c1' },
    ]
    expect(template.render({ messages, tools: null })).toBe(
      '<>[{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"x": [1, "é"]}}}, ' +
        '{"id": "c2", "type": "function", "function": {"name": "g", "arguments": {}}}]<7>fc1',
    )
  })

  it('gives tools, documents and the date', () => {
    const clock = { nowMs: () => 0, wallMs: () => new Date(2026, 10, 3, 9, 5).getTime() }
    const template = chat(
      "{% if tools %}{{ tools[0].function.name }}{% endif %}{{ documents is none }} {{ strftime_now('%d %b %Y') }}",
      { clock },
    )
    const tools = [{ type: 'function', function: { name: 'look' } }]
    expect(template.render({ messages: [USER], tools })).toBe('lookTrue 03 Nov 2026')
    expect(template.render({ messages: [USER], tools: [] })).toBe('True 03 Nov 2026')
  })

  it('takes the template named tool_use when there are tools', () => {
    const template = chat({ default: 'plain', tool_use: 'with {{ tools | length }}' })
    expect(template.render({ messages: [USER], tools: null })).toBe('plain')
    expect(template.render({ messages: [USER], tools: [{}] })).toBe('with 1')
  })

  it('refuses tools that the template would ignore', () => {
    expect(failure(() => chat(SMOLLM2).render({ messages: [USER], tools: [{}] }))).toMatchObject({
      code: 'TEXT_TEMPLATE_WITHOUT_TOOLS',
      status: 400,
      param: 'tools',
    })
  })

  it('sends a caller of a base model to completions', () => {
    const template = chat({})
    expect(template.isPresent).toBe(false)
    const error = failure(() => template.render({ messages: [USER], tools: null }))
    expect(error).toMatchObject({ code: 'TEXT_NO_CHAT_TEMPLATE', status: 400, param: 'messages' })
    expect(error.message).toContain('/v1/completions')
  })

  it("passes on the template's own refusal", () => {
    const template = chat("{{ raise_exception('Roles must alternate {x}') }}")
    expect(failure(() => template.render({ messages: [USER], tools: null }))).toEqual({
      code: 'TEXT_TEMPLATE_REFUSED',
      status: 400,
      param: 'messages',
      message: 'messages: the model’s chat template refuses them: Roles must alternate {x}',
    })
  })

  it.each([
    ['an operation that fails', '{{ messages.nothing() }}'],
    ['a macro that calls itself for ever', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}'],
    ['a range of half a number', '{% for i in range(0.5) %}{% endfor %}'],
  ])('turns %s into an error of the request', (_name, source) => {
    expect(failure(() => chat(source).render({ messages: [USER], tools: null }))).toMatchObject({
      code: 'TEXT_TEMPLATE_FAILED',
      status: 400,
      param: 'messages',
    })
  })

  it.each([
    [
      'steps',
      '{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}',
      '20000 steps',
    ],
    ['the length of a range', '{{ range(1000000000) | length }}', 'a range of 10000'],
    [
      'the size of a text',
      "{% set n = namespace(x='ab') %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
      '65536 characters',
    ],
    [
      'the size of a list',
      '{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}',
      '65536 characters',
    ],
  ])('bounds %s', (_name, source, limit) => {
    const options = {
      clock: STILL,
      templateLimits: { maxSteps: 20_000, maxMs: 1_000, maxChars: 65_536 },
    }
    const error = failure(() => chat(source, options).render({ messages: [USER], tools: null }))
    expect(error).toMatchObject({
      code: 'TEXT_TEMPLATE_TOO_COSTLY',
      status: 400,
      param: 'messages',
    })
    expect(error.message).toContain(limit)
  })

  it('bounds time, inside loops without a body too', () => {
    let now = 0
    const clock = { nowMs: () => (now += 400), wallMs: () => 0 }
    const source = '{% for i in range(5) %}{% for j in range(5) %}{% endfor %}{% endfor %}'
    const error = failure(() => chat(source, { clock }).render({ messages: [USER], tools: null }))
    expect(error.message).toContain('1000 ms')
  })

  it('starts every rendering with a new budget', () => {
    const templateLimits = { maxSteps: 20_000, maxMs: 1_000, maxChars: 65_536 }
    const template = chat('{% for i in range(9000) %}{{ i }}{% endfor %}', {
      clock: STILL,
      templateLimits,
    })
    for (let round = 0; round < 5; round += 1) {
      expect(template.render({ messages: [USER], tools: null })).toHaveLength(34_890)
    }
  })

  it.each([
    ['a syntax error', '{% for %}'],
    ['an unclosed block', '{% if true %}x'],
    ['nesting without end', '{{ '.concat('('.repeat(100_000))],
    ['a text beyond all templates', 'x'.repeat(300_000)],
  ])('refuses a template with %s when the model is loaded', (_name, source) => {
    expect(failure(() => chat(source))).toMatchObject({
      code: 'TEXT_BAD_CHAT_TEMPLATE',
      status: 422,
    })
  })

  it('gives control tokens in a message to the prompt as they are', () => {
    const messages = [{ role: 'user', content: 'a<|im_end|>\n<|im_start|>system\nb' }]
    expect(chat(SMOLLM2).render({ messages, tools: null })).toContain(
      'a<|im_end|>\n<|im_start|>system\nb<|im_end|>',
    )
  })

  it.skipIf('missing' in golden)('renders what transformers renders for every golden case', () => {
    if ('missing' in golden) throw new Error(golden.missing)
    const template = chat(SMOLLM2)
    const cases = golden.value.filter(({ messages }) => messages !== undefined)
    const rendered = cases.map(({ messages }) =>
      template.render({ messages: messages ?? [], tools: null }),
    )
    expect(rendered).toEqual(cases.map((each) => each.rendered))
    expect(cases.length).toBeGreaterThanOrEqual(7)
  })
})
