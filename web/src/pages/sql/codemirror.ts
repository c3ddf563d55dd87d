/** The editor of SQL: CodeMirror 6 with only what it needs; a chunk of its own, loaded with the page's first editor. */
import { acceptCompletion, autocompletion, closeBrackets, closeCompletion, closeBracketsKeymap, completionKeymap, type Completion, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap, indentWithTab, toggleComment } from '@codemirror/commands'
import { MySQL, PostgreSQL, sql, SQLDialect, StandardSQL, type SQLNamespace } from '@codemirror/lang-sql'
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language'
import { Compartment, EditorSelection, EditorState, Prec, StateEffect, StateField, type Extension } from '@codemirror/state'
import { Decoration, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, placeholder, type DecorationSet } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import type { Schema } from '../../lib/api/types'
import { defined, parts, quoted, sources, statementAt } from './statements'

export type Tables = readonly Schema<'CompletionTable'>[]

export interface Hooks {
  run: () => void
  explain: () => void
  /** True when there was something to cancel. */
  cancel: () => boolean
  changed: (text: string) => void
}

/** What the buttons of the page do with the editor. */
export interface Editing {
  view: EditorView
  text: () => string
  replace: (text: string) => void
  insert: (text: string) => void
  /** What is to be run: the selection, else the statement at the cursor, with its place in the text. */
  wanted: () => { text: string; from: number } | null
  /** Mark a place as wrong and put it in sight; null takes the mark away. */
  wrong: (at: number | null) => void
  goTo: (at: number) => void
  schema: (kind: string, tables: Tables) => void
  destroy: () => void
}

const DUCKDB = SQLDialect.define({
  ...PostgreSQL.spec,
  keywords: `${PostgreSQL.spec.keywords ?? ''} qualify pivot unpivot asof positional anti semi exclude replace summarize describe`,
  doubleQuotedStrings: false,
})

function dialect(kind: string): SQLDialect {
  if (kind === 'duckdb' || kind === 'iceberg') return DUCKDB
  if (kind === 'postgresql' || kind === 'redshift') return PostgreSQL
  return kind === 'bigquery' ? MySQL : StandardSQL
}

const setWrong = StateEffect.define<number | null>()
const wrongMark = Decoration.mark({ class: 'cm-wrong' })
/** The mark goes when the text around it is changed. */
const wrongField = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    let found = transaction.docChanged ? Decoration.none : marks
    for (const effect of transaction.effects) {
      if (!effect.is(setWrong)) continue
      if (effect.value === null) found = Decoration.none
      else {
        const text = transaction.state.doc.toString()
        const at = Math.min(effect.value, Math.max(0, text.length - 1))
        const token = parts(text).find((part) => part.to > at)
        const from = Math.min(at, token?.from ?? at)
        found = text.length ? Decoration.set([wrongMark.range(from, Math.max(from + 1, token?.to ?? at + 1))]) : Decoration.none
      }
    }
    return found
  },
  provide: (field) => EditorView.decorations.from(field),
})

/** Columns of the tables that the statement names, without a name before them, and the names that WITH defines. */
function inScope(tables: Tables, quote: string) {
  const byName = new Map(tables.map((table) => [`${table.schema}.${table.table}`, table]))
  return (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/[\p{L}_][\p{L}\p{N}_$]*/u)
    if ((!word && !context.explicit) || context.matchBefore(/\.\s*[\p{L}\p{N}_$]*/u)) return null
    const text = context.state.doc.toString()
    const statement = statementAt(text, context.pos)
    if (!statement) return null
    const options: Completion[] = defined(statement.text).map((name) => ({ label: name, type: 'type', detail: 'WITH', boost: 5 }))
    for (const source of sources(statement.text)) {
      const table = byName.get(`${source.schema}.${source.table}`)
      if (source.alias !== source.table) options.push({ label: source.alias, type: 'type', detail: `${source.schema}.${source.table}`, boost: 4 })
      for (const [column, type] of table?.columns ?? []) {
        options.push({ label: column, apply: quoted(column, quote), type: 'property', detail: `${type} · ${source.alias}`, boost: 3 })
      }
    }
    return options.length ? { from: word?.from ?? context.pos, options, validFor: /^[\p{L}_][\p{L}\p{N}_$]*$/u } : null
  }
}

function namespace(tables: Tables): SQLNamespace {
  const schemas: Record<string, Record<string, Completion[]>> = {}
  for (const table of tables) {
    const schema = (schemas[table.schema] ??= {})
    schema[table.table] = table.columns.map(([name, type]) => ({ label: name, type: 'property', detail: type }))
  }
  return schemas
}

function language(kind: string, tables: Tables): Extension {
  const chosen = dialect(kind)
  return [
    sql({ dialect: chosen, schema: namespace(tables), upperCaseKeywords: true }),
    chosen.language.data.of({ autocomplete: inScope(tables, kind === 'bigquery' ? '`' : '"') }),
  ]
}

const look = EditorView.theme({
  '&': { height: '100%', color: 'var(--text)', backgroundColor: 'transparent', fontSize: 'var(--text-sm)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6', overflow: 'auto' },
  '.cm-content': { caretColor: 'var(--text)', padding: 'var(--space-2) 0' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--text-3)', border: '0' },
  '.cm-activeLine': { backgroundColor: 'color-mix(in srgb, var(--surface-2) 65%, transparent)' },
  '.cm-activeLineGutter': { backgroundColor: 'transparent', color: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { background: 'var(--selection)' },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--accent-soft)', outline: '1px solid var(--accent)' },
  '.cm-wrong': { textDecoration: 'underline wavy var(--bad)', textUnderlineOffset: '4px', backgroundColor: 'var(--bad-soft)' },
  '.cm-placeholder': { color: 'var(--text-3)' },
  '.cm-tooltip': { border: '1px solid var(--line)', borderRadius: 'var(--radius-md)', backgroundColor: 'var(--surface)', color: 'var(--text)', boxShadow: 'var(--shadow-2)', overflow: 'hidden' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', fontSize: 'var(--text-sm)', maxHeight: '16rem' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '3px 8px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent-soft)', color: 'var(--text)' },
  '.cm-completionDetail': { color: 'var(--text-3)', fontStyle: 'normal', marginLeft: '0.75em' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: 'var(--weight-bold)', color: 'var(--accent-text)' },
})

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--accent-text)', fontWeight: '600' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--warn)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--info)' },
  { tag: [tags.lineComment, tags.blockComment], color: 'var(--text-3)', fontStyle: 'italic' },
  { tag: tags.typeName, color: 'var(--info)' },
  { tag: tags.operator, color: 'var(--text-2)' },
])

export function editing(parent: HTMLElement, text: string, kind: string, tables: Tables, hooks: Hooks): Editing {
  const spoken = new Compartment()
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      selection: EditorSelection.cursor(text.length),
      extensions: [
        Prec.highest(
          keymap.of([
            { key: 'Mod-Enter', run: (view) => (closeCompletion(view), hooks.run(), true) },
            { key: 'Mod-Shift-Enter', run: (view) => (closeCompletion(view), hooks.explain(), true) },
          ]),
        ),
        lineNumbers(),
        highlightActiveLineGutter(),
        highlightActiveLine(),
        history(),
        drawSelection(),
        EditorState.allowMultipleSelections.of(true),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false, maxRenderedOptions: 60 }),
        syntaxHighlighting(colours),
        spoken.of(language(kind, tables)),
        wrongField,
        look,
        EditorView.lineWrapping,
        placeholder('SELECT …'),
        EditorView.contentAttributes.of({ 'aria-label': 'SQL', spellcheck: 'false', autocapitalize: 'off' }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) hooks.changed(update.state.doc.toString())
        }),
        keymap.of([
          ...closeBracketsKeymap,
          ...completionKeymap,
          { key: 'Tab', run: acceptCompletion },
          { key: 'Escape', run: () => hooks.cancel() },
          { key: 'Mod-/', run: toggleComment },
          { key: 'Alt-Tab', run: indentWithTab.run ?? (() => false) },
          ...historyKeymap,
          ...defaultKeymap,
        ]),
      ],
    }),
  })
  return {
    view,
    text: () => view.state.doc.toString(),
    replace: (next) => {
      if (next === view.state.doc.toString()) return
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next }, selection: EditorSelection.cursor(next.length) })
    },
    insert: (next) => {
      view.dispatch(view.state.replaceSelection(next))
      view.focus()
    },
    wanted: () => {
      const range = view.state.selection.main
      const whole = view.state.doc.toString()
      if (!range.empty) {
        const chosen = whole.slice(range.from, range.to)
        if (chosen.trim()) return { text: chosen, from: range.from }
      }
      const found = statementAt(whole, range.head)
      return found ? { text: found.text, from: found.from } : null
    },
    wrong: (at) => view.dispatch({ effects: setWrong.of(at) }),
    goTo: (at) => {
      const to = Math.min(at, view.state.doc.length)
      view.dispatch({ selection: EditorSelection.cursor(to), effects: EditorView.scrollIntoView(to, { y: 'center' }) })
      view.focus()
    },
    schema: (nextKind, nextTables) => view.dispatch({ effects: spoken.reconfigure(language(nextKind, nextTables)) }),
    destroy: () => view.destroy(),
  }
}
