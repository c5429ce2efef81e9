#!/usr/bin/env node
/**
 * The `ingot` command. In a checkout it first builds what changed (nothing, usually), then hands over to `dist/`.
 * Checks Node's version before anything newer than that is parsed.
 */

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`ingot needs Node 20.19 or newer, this is ${process.versions.node}\n`)
  process.exit(1)
}

const { build, hasSources } = await import('../scripts/build.mjs')
if (hasSources()) {
  try {
    // Help, lists and downloads compute nothing, so they need not wait for Rust.
    const args = process.argv.slice(2)
    const computes = ['serve', 'bench', 'quantize'].includes(args[0])
    const needsAddon = computes && !args.some((arg) => arg === '--help' || arg === '-h')
    await build((line) => process.stderr.write(`ingot: ${line}\n`), { needsAddon })
  } catch (error) {
    if (error.name !== 'BuildError') throw error
    process.stderr.write(`ingot: ${error.message}\n`)
    process.exit(1)
  }
}
await import('../dist/app/main.js')
