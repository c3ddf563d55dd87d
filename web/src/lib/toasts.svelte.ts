/** Short notes about what just happened; they leave by themselves, errors stay until they are closed. */
import { problemOf } from './api/client'

export interface Toast {
  id: number
  kind: 'good' | 'bad' | 'info'
  text: string
  remedy: string
}

class Toasts {
  shown = $state.raw<readonly Toast[]>([])
  #next = 1

  #add(kind: Toast['kind'], text: string, remedy = ''): void {
    const id = this.#next++
    this.shown = [...this.shown.slice(-3), { id, kind, text, remedy }]
    if (kind !== 'bad') setTimeout(() => this.close(id), 5000)
  }

  good(text: string): void {
    this.#add('good', text)
  }

  info(text: string): void {
    this.#add('info', text)
  }

  /** What failed, and what to do. */
  bad(error: unknown): void {
    const problem = problemOf(error)
    this.#add('bad', problem.step ? `${problem.step}: ${problem.subject}` : problem.subject, problem.remedy)
  }

  close(id: number): void {
    this.shown = this.shown.filter((toast) => toast.id !== id)
  }
}

export const toasts = new Toasts()
