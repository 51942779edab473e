// The pages of the documentation, and what is in them.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')

const under = directory => readdirSync(join(root, directory), { recursive: true }).map(name => join(directory, name))

/** Every page: its path in the repository and its text. */
export const pages = [...readdirSync(root), ...under('docs')].filter(path => path.endsWith('.md')).toSorted()
  .map(path => ({ path, text: readFileSync(join(root, path), 'utf8') }))

export const page = path => pages.find(page => page.path === path)

/**
 * The fenced blocks of a page: { language, code, line, reason }. `reason` says why a block cannot be run, if it cannot: it stands above the
 * block as `<!-- not run: the reason -->`.
 */
export function blocks({ text }) {
  return [...text.matchAll(/(?:<!-- not run: (.+) -->\n)?^```(\w*)\n([\s\S]*?)^```$/gm)].map(({ 1: reason, 2: language, 3: code, index }) =>
    ({ language, code, reason, line: text.slice(0, index).split('\n').length }))
}

/** The text of a page without its fenced blocks. */
export const prose = ({ text }) => text.replace(/^```[\s\S]*?^```$/gm, '')

/** What stands in backquotes in the text of a page. */
export const quoted = page => [...prose(page).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code)
