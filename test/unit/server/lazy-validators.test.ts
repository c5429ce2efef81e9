import fastify from 'fastify'
import { afterEach, expect, it } from 'vitest'
import { LazyValidators } from '../../../src/server/lazy-validators.ts'
import { fakeAdministration } from '../../support/fake-endpoints-admin.ts'
import { testServer } from '../../support/test-server.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function serverWith(schema: object) {
  const validators = new LazyValidators()
  const app = fastify({ schemaController: { compilersFactory: validators.compilersFactory } })
  app.post('/', { schema: { body: schema } }, async () => 'taken')
  closers.push(() => app.close())
  await app.ready()
  const post = async (payload: object) => {
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/', payload })
    return { statusCode, body }
  }
  return { validators, post }
}

const BROKEN = { type: 'no such type' }

it('compiles no schema before somebody needs it', async () => {
  const { validators } = await serverWith(BROKEN)
  await expect(validators.compileAll()).rejects.toThrow(/type/)
})

it('answers every request of a route whose schema cannot be compiled with a fault of the server', async () => {
  const { validators, post } = await serverWith(BROKEN)
  await expect(validators.compileAll()).rejects.toThrow(/type/)
  expect((await post({})).statusCode).toBe(500)
  expect((await post({})).statusCode).toBe(500)
})

it('validates alike whether a request or a pause had it compiled', async () => {
  const schema = { type: 'object', required: ['a'], properties: { a: { type: 'number' } } }
  for (const isEarly of [false, true]) {
    const { validators, post } = await serverWith(schema)
    if (isEarly) await validators.compileAll()
    expect(await post({ a: 1 })).toEqual({ statusCode: 200, body: 'taken' })
    const refused = await post({ a: 'x' })
    expect(refused.statusCode).toBe(400)
    expect(refused.body).toContain('body/a must be number')
    expect(await post({ a: 2 })).toEqual({ statusCode: 200, body: 'taken' })
  }
})

it('every schema of the server can be compiled', async () => {
  const { app } = testServer({ parts: { administration: fakeAdministration() } })
  closers.push(() => app.close())
  await app.ready()
  await app.compileSchemas()
})
