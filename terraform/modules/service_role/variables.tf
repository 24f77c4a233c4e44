variable "account_id" {
  description = "AWS account for which the service must act, 12 digits."
  type        = string
}

variable "name" {
  description = "Name of the role, at most 64 characters."
  type        = string
}

variable "service" {
  description = "Service that may assume the role, e.g. \"lambda.amazonaws.com\"."
  type        = string
}

variable "assume_sid" {
  description = "Id of the trust statement: a verb and who assumes the role, e.g. \"AssumeAsAlertFunction\"."
  type        = string
}

variable "policy_name" {
  description = "Name of the inline policy."
  type        = string
}

variable "policy" {
  description = "What the role may do, as JSON."
  type        = string
}
