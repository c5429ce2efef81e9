/**
 * Python's `str` and `repr` of the values that templates compute with, where the interpreter package writes JavaScript's
 * words: `True`, `None`, `{'a': 1}`. Owns nothing; knows the package's values by their `type` and `value` only.
 */

/** What this file reads of the package's runtime values. */
export interface TemplateValue {
  readonly type: string
  readonly value: unknown
}

/** What Jinja prints for a value; nothing for one that is undefined. */
export function pythonText(value: TemplateValue): string {
  if (value.type === 'UndefinedValue') return ''
  return value.type === 'StringValue' ? String(value.value) : pythonRepr(value)
}

function pythonRepr(item: TemplateValue): string {
  const { type, value } = item
  if (value instanceof Map) {
    const entries = [...(value as Map<string, TemplateValue>)]
    const pairs = entries.map(([key, entry]) => `${quoted(key)}: ${pythonRepr(entry)}`)
    return `{${pairs.join(', ')}}`
  }
  if (Array.isArray(value)) {
    const items = (value as TemplateValue[]).map(pythonRepr)
    if (type !== 'TupleValue') return `[${items.join(', ')}]`
    return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`
  }
  if (type === 'StringValue') return quoted(String(value))
  if (type === 'BooleanValue') return value === true ? 'True' : 'False'
  if (type === 'NullValue') return 'None'
  // Numbers write themselves: 1.0 of a float, 1 of an integer.
  return String(item)
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** In single quotes, unless only double ones need no escape. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escaped = text.replace(/[\\\n\r\t]/g, (character) => ESCAPES[character] as string)
  const closed = quote === "'" ? escaped.replaceAll("'", "\\'") : escaped
  return `${quote}${closed}${quote}`
}
