#!/usr/bin/env node
import { run } from './program.ts'

// A reader such as `head` may close the pipe early; then there is no output left to write.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const { stdin, stdout, stderr, env, argv } = process
process.exitCode = await run(argv.slice(2), { stdin, stdout, stderr, env })
