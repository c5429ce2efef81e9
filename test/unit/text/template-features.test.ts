/**
 * What the templates of model families use, each feature by itself: results are Jinja's in Python, as transformers sets it
 * up (compared on 2026-11-28 with 70 published templates, six conversations each).
 */

import { describe, expect, it } from 'vitest'
import { ChatTemplate } from '../../../src/text/chat-template.ts'

const clock = { nowMs: () => performance.now(), wallMs: () => Date.UTC(2026, 10, 28, 12) }
const specialTokens = { bos_token: '<s>', eos_token: '</s>' }

function render(source: string, tools: readonly unknown[] | null = null): string {
  // Named, so that a template without the word is not refused for ignoring tools.
  const chatTemplates = new Map([['default', `{# tools #}${source}`]])
  const messages = [
    { role: 'system', content: ' Be <brief> & "kind". ' },
    { role: 'user', content: 'Grüße 你好' },
    {
      role: 'assistant',
      content: null,
      toolCalls: [{ function: { name: 'f', arguments: '{"a":[1,null]}' } }],
    },
  ]
  return new ChatTemplate({ chatTemplates, specialTokens }, { clock }).render({ messages, tools })
}

const SCHEMA = {
  type: 'function',
  function: { name: 'f', parameters: { items: { type: 'string' }, x: 1 } },
}

describe('a template', () => {
  it.each([
    [
      'Llama 3: turns in headers',
      "{% for m in messages %}{{ '<|h|>' + m['role'] + '|' + (m['content'] | trim) }}{% endfor %}{{ bos_token }}",
      '<|h|>system|Be <brief> & "kind".<|h|>user|Grüße 你好<|h|>assistant|<s>',
    ],
    ['Llama 3: the date', "{{ strftime_now('%d %b %Y') }}", '28 Nov 2026'],
    [
      'Mistral: slices and equality',
      "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% endif %}{{ loop_messages | length }}",
      '2',
    ],
    [
      'Qwen: the last user turn',
      "{%- set ns = namespace(last=-1) %}{%- for m in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.last < 0 and m.role == 'user' %}{%- set ns.last = index %}{%- endif %}{%- endfor %}{{ ns.last }}",
      '1',
    ],
    [
      'Qwen: split by a tag',
      "{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}|{{ 'xxay'.rstrip('y').startswith('xx') }}",
      'b|True',
    ],
    [
      'Gemma: roles by name',
      "{% for m in messages %}{% if m.role == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = m.role %}{% endif %}{{ role }} {% endfor %}",
      'system user model ',
    ],
    [
      'Granite and Cohere: macros with defaults',
      "{% macro turn(role, text='-') %}[{{ role }}:{{ text }}]{% endmacro %}{{ turn('a') }}{{ turn('b', text='c') }}",
      '[a:-][b:c]',
    ],
    [
      'GLM: what is defined and of which kind',
      "{{ x is defined }} {{ tools is none }} {{ messages is iterable }} {{ 'a' is string }} {{ messages[0] is mapping }}",
      'False True True True True',
    ],
    [
      'gpt-oss: enumerations and joins',
      "{{ ['a', 'b'] | join(', ') }} {{ range(3) | list }} {{ 'a' if false else 'b' }}",
      'a, b [0, 1, 2] b',
    ],
    [
      'DeepSeek: continues and breaks',
      '{% for i in [1, 2, 3, 4] %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}',
      '13',
    ],
    ['training: generation blocks', '{% generation %}{{ 1 }}{% endgeneration %}', '1'],
    [
      'blocks that call',
      '{% macro wrap() %}<{{ caller() }}>{% endmacro %}{% call wrap() %}x{% endcall %}',
      '<x>',
    ],
    [
      'filters',
      "{{ messages | map(attribute='role') | unique | list | length }} {{ [3, 1, 2] | min }} {{ [3, 1, 2] | max }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ tools | selectattr('x') | list | length }}",
      '3 1 3 1 0',
    ],
    [
      "Python's words",
      "{{ true }} {{ none }} {{ missing }}| {{ 1.0 }} {{ {'a': [true, none, 'b']} }} {{ ['it\\'s'] }} {{ (1, 2) }}",
      "True None | 1.0 {'a': [True, None, 'b']} [\"it's\"] (1, 2)",
    ],
    [
      "Python's words in texts",
      "{{ true | string ~ none ~ 1 }} {{ {'a': 1} | string }}",
      "TrueNone1 {'a': 1}",
    ],
    ['pairs in a list', "{% for a, b in [('x', 1), ('y', 2)] %}{{ a }}{{ b }}{% endfor %}", 'x1y2'],
    [
      'keys that are none',
      "{% set d = {'a': 1} %}[{{ d[missing] }}][{{ d.get('b', 2) }}][{{ d['a'] }}]",
      '[][2][1]',
    ],
    ['nothing as a text', '[{{ missing | trim }}]', '[]'],
    [
      'arguments of tool calls as objects',
      '{{ messages[2].tool_calls[0].function.arguments | tojson }}',
      '{"a": [1, null]}',
    ],
  ])('%s', (_name, source, expected) => {
    expect(render(source)).toBe(expected)
  })

  it('writes JSON as transformers does: no escapes for letters, indents as asked', () => {
    expect(render('{{ messages[0].content | tojson }}{{ messages[1].content | tojson }}')).toBe(
      '" Be <brief> & \\"kind\\". ""Grüße 你好"',
    )
    expect(render("{{ {'a': [1], 'b': {}} | tojson(indent=2) }}")).toBe(
      '{\n  "a": [\n    1\n  ],\n  "b": {}\n}',
    )
  })

  it('reaches the methods of an object whose schema has keys of the same names', () => {
    const source =
      '{% for k, v in tools[0].function.parameters.items() %}{{ k }} {% endfor %}{{ tools[0].function.parameters["items"].type }}'
    expect(render(source, [SCHEMA])).toBe('items x string')
  })

  it('refuses in its own words, and what it cannot do in ours', () => {
    expect(() => render("{{ raise_exception('roles must alternate') }}")).toThrow(
      expect.objectContaining({
        code: 'TEXT_TEMPLATE_REFUSED',
        message: expect.stringContaining('roles must alternate'),
      }),
    )
    expect(() => render('{{ missing() }}')).toThrow(
      expect.objectContaining({ code: 'TEXT_TEMPLATE_FAILED' }),
    )
  })

  it.each([
    "{% set ns = namespace(t='x') %}{% for i in range(10000) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
    "{% for i in range(10000) %}{{ 'x' * 1000 }}{% endfor %}",
    '{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}',
    '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
  ])('ends soon whatever it does: %s', (source) => {
    expect(() => render(source)).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^TEXT_TEMPLATE_(TOO_COSTLY|FAILED)$/),
      }),
    )
  })
})
