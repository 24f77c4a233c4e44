variable "workgroup_name" {
  description = "Name of the Athena workgroup."
  type        = string
}

variable "database" {
  description = "Glue database that the questions are asked of."
  type        = string
}

variable "result_bucket_name" {
  description = "Bucket of query results."
  type        = string
}

variable "bytes_scanned_cutoff_per_query" {
  description = "A query that would read more is cancelled."
  type        = number
}

variable "questions" {
  description = "Title and SQL of each question, by name. The SQL has placeholders such as `$${from_date}`."
  type        = map(object({ title = string, sql = string }))

  validation {
    condition     = alltrue([for name, question in var.questions : can(regex("^[a-z_][a-z0-9_]*$", name)) && trimspace(question.title) != ""])
    error_message = "Got ${join(", ", keys(var.questions))}. Every question needs a title, and a name of a-z, 0-9 and _ (Athena allows no hyphen in a prepared statement)."
  }
}
