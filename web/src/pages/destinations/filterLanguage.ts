/** The expression language of filters for the editor: colours, completion out of what was seen, and the place of an error. */
import { autocompletion, completionKeymap, type Completion, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete'
import { StreamLanguage } from '@codemirror/language'
import type { Extension } from '@codemirror/state'
import { Decoration, EditorView, keymap } from '@codemirror/view'
import type { FilterFields } from './types'

const KEYWORDS = /^(and|or|not|in|contains|starts|ends|with|matches|exists|is|null|true|false)(?![\w$.])/i

const language = StreamLanguage.define<null>({
  name: 'filter',
  startState: () => null,
  token: (stream) => {
    if (stream.eatSpace()) return null
    if (stream.match(/^"(?:[^"\\]|\\.)*"|^'(?:[^'\\]|\\.)*'/)) return 'string'
    if (stream.match(/^["'].*/)) return 'invalid'
    if (stream.match(/^-?\d+(\.\d+)?([eE][+-]?\d+)?/)) return 'number'
    if (stream.match(KEYWORDS)) return 'keyword'
    if (stream.match(/^[A-Za-z_$][\w$]*(\.[\w$-]+|\[\s*"(?:[^"\\]|\\.)*"\s*\])*/)) return 'variableName'
    if (stream.match(/^(==|!=|<=|>=|[=<>])/)) return 'operator'
    stream.next()
    return 'punctuation'
  },
})

/** What may stand where the cursor is: values behind `event =` and `type =`, else fields, functions and words. */
function completed(known: () => FilterFields | undefined): (context: CompletionContext) => CompletionResult | null {
  return (context) => {
    const fields = known()
    if (!fields) return null
    const before = context.state.sliceDoc(0, context.pos)
    const value = /\b(event|type)\s*(?:=|==|!=|(?:not\s+)?in\s*\[(?:[^\]]*,)?)\s*("[^"]*)?$/i.exec(before)
    if (value) {
      const names = value[1]?.toLowerCase() === 'type' ? fields.event_types : fields.event_names
      const from = context.pos - (value[2]?.length ?? 0)
      const closes = context.state.sliceDoc(context.pos, context.pos + 1) === '"'
      return { from, options: names.map((name): Completion => ({ label: JSON.stringify(name), type: 'text', apply: closes ? JSON.stringify(name).slice(0, -1) : JSON.stringify(name) })) }
    }
    const open = (before.match(/"/g)?.length ?? 0) % 2 === 1
    const word = context.matchBefore(/[\w$.[\]"-]*/)
    if (open || !word || (word.from === word.to && !context.explicit)) return null
    return {
      from: word.from,
      validFor: /^[\w$.-]*$/,
      options: [
        ...fields.fields.map((field): Completion => ({ label: field.path, type: 'variable', detail: field.text || [field.types?.join(', '), field.values?.[0]].filter(Boolean).join(' · '), boost: field.events ? 2 : 1 })),
        ...fields.functions.map((name): Completion => ({ label: `${name}()`, apply: `${name}(`, type: 'function' })),
        ...fields.words.map((name): Completion => ({ label: name, type: 'keyword' })),
      ],
    }
  }
}

/** `column` (from 1) is where the expression is wrong; null where it is right. */
export function filterExtensions(known: () => FilterFields | undefined, column: number | null): Extension {
  const marks =
    column === null
      ? []
      : [
          EditorView.decorations.compute(['doc'], (state) => {
            if (!state.doc.length) return Decoration.none
            const from = Math.max(0, Math.min(column - 1, state.doc.length - 1))
            const rest = /^[\w$.-]+/.exec(state.sliceDoc(from))?.[0].length ?? 1
            return Decoration.set([Decoration.mark({ class: 'cm-wrong' }).range(from, Math.min(state.doc.length, from + Math.max(1, rest)))])
          }),
        ]
  return [language, autocompletion({ override: [completed(known)], icons: false, maxRenderedOptions: 60 }), keymap.of(completionKeymap), ...marks]
}
