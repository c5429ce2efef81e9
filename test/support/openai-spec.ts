/** Validators made from OpenAI's published OpenAPI file, where this checkout has it under ../shared. */

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const FILE = fileURLToPath(new URL('../../../shared/specs/openai-openapi.json', import.meta.url))

interface Validate {
  (data: unknown): boolean
  errors?: unknown
}
interface AjvLike {
  addSchema(schema: object, key: string): unknown
  compile(schema: object): Validate
}

export const hasOpenAiSpec: boolean = existsSync(FILE)

/** @returns a function that gives `null`, or what Ajv has against the data */
export function openAiValidator(): (schemaName: string, data: unknown) => unknown {
  const require = createRequire(createRequire(import.meta.url).resolve('fastify'))
  // biome-ignore lint/correctness/noUndeclaredDependencies: Fastify's own Ajv, resolved from Fastify
  const { default: Ajv } = require('ajv') as { default: new (options: object) => AjvLike }
  const ajv = new Ajv({
    strict: false,
    allErrors: true,
    formats: { date: true, unixtime: true, uri: true },
  })
  ajv.addSchema(withNulls(JSON.parse(readFileSync(FILE, 'utf8'))) as object, 'openai.json')
  const compiled = new Map<string, Validate>()
  return (name, data) => {
    const validate =
      compiled.get(name) ?? ajv.compile({ $ref: `openai.json#/components/schemas/${name}` })
    compiled.set(name, validate)
    return validate(data) ? null : validate.errors
  }
}

/** The file writes OpenAPI 3.0's `nullable` in a 3.1 document; JSON Schema says it with a union. */
function withNulls(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withNulls)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).filter(([key]) => key !== 'discriminator')
  const { nullable, ...rest } = Object.fromEntries(
    entries.map(([key, value]) => [key, withNulls(value)]),
  )
  return nullable === true ? { anyOf: [rest, { type: 'null' }] } : rest
}
