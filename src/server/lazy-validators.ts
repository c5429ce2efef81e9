/**
 * Compiles the schema of a route when its first request comes, or in a pause before: all of them together held a server's
 * start up by a tenth of a second, and most are never asked. Owns what is still to be compiled.
 *
 * A schema that cannot be compiled is a fault of ours, so it is found by the tests (`compileAll`), not at a start.
 */

import AjvCompiler, { type BuildCompilerFromPool } from '@fastify/ajv-compiler'

type Compile = ReturnType<BuildCompilerFromPool>
type Validate = ReturnType<Compile>

export class LazyValidators {
  readonly #pending = new Set<() => void>()

  /** For Fastify's option `schemaController`. */
  readonly compilersFactory: { readonly buildValidator: BuildCompilerFromPool }

  constructor() {
    const build = AjvCompiler()
    this.compilersFactory = {
      buildValidator: (...setting) => {
        const compile = build(...setting)
        return (...route) => this.#lazily(() => compile(...route))
      },
    }
  }

  /** Compile what no request has asked for yet, one at a time, and let everything else go first. */
  async compileAll(): Promise<void> {
    for (const compile of this.#pending) {
      await new Promise((resolve) => setImmediate(resolve))
      compile()
    }
  }

  #lazily(compile: () => Validate): Validate {
    let validate: Validate | null = null
    const compileOnce = (): Validate => {
      this.#pending.delete(compileOnce)
      validate ??= compile()
      return validate
    }
    this.#pending.add(compileOnce)
    const lazy = (data: unknown): unknown => {
      const compiled = validate ?? compileOnce()
      const answer = compiled(data)
      // Fastify reads what was wrong off the function itself.
      lazy.errors = compiled.errors
      return answer
    }
    lazy.errors = null as Validate['errors']
    return lazy as unknown as Validate
  }
}
