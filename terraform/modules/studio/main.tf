locals {
  # Two cells run at the same time: the rules and the chart. Each needs a slot (the note says parallelism=1). AWS charges
  # for both while the notebook runs.
  parallelism = 2

  # The note names the tutorial's streams and region. Here they are replaced by the deployed ones.
  note = replace(replace(replace(
    file(var.note),
    "'ecommerce-raw-user-activity-stream-1'", "'${var.raw_stream_name}'"),
    "'ecommerce-raw-user-activity-stream-2'", "'${var.alert_stream_name}'"),
  "'us-east-1'", "'${var.region}'")

  note_key = "notebooks/${basename(var.note)}"

  role_arn     = "arn:${var.partition}:iam::${var.account_id}:role/${var.name}"
  glue_arn     = "arn:${var.partition}:glue:${var.region}:${var.account_id}"
  database_arn = "${local.glue_arn}:database/${var.database}"

  log_group      = "/aws/kinesis-analytics/${var.name}"
  log_stream     = "notebook"
  logs_arn       = "arn:${var.partition}:logs:${var.region}:${var.account_id}"
  log_group_arn  = "${local.logs_arn}:log-group:${local.log_group}"
  log_stream_arn = "${local.log_group_arn}:log-stream:${local.log_stream}"
}

# Terraform's own resource has no Zeppelin settings, so a stack creates the notebook, which is stopped at first.
resource "aws_cloudformation_stack" "studio" {
  name          = var.name
  template_body = jsonencode({ Resources = local.resources })

  depends_on = [aws_cloudwatch_log_stream.studio, aws_glue_catalog_database.studio, terraform_data.role_is_known]
}

locals {
  # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-kinesisanalyticsv2-application-zeppelinapplicationconfiguration.html
  # No DeployAsApplicationConfiguration: `make deploy` deploys the rules, on a newer Flink than the notebook's.
  resources = {
    Notebook = {
      Type = "AWS::KinesisAnalyticsV2::Application"
      Properties = {
        ApplicationName        = var.name
        ApplicationDescription = "Rules of the detector, to try by hand: import ${local.note_key} of the artifact bucket."
        ApplicationMode        = "INTERACTIVE"
        RuntimeEnvironment     = "ZEPPELIN-FLINK-3_0"
        ServiceExecutionRole   = local.role_arn
        ApplicationConfiguration = {
          FlinkApplicationConfiguration = {
            ParallelismConfiguration = {
              ConfigurationType  = "CUSTOM"
              AutoScalingEnabled = false
              Parallelism        = local.parallelism
              ParallelismPerKPU  = 1
            }
          }
          ZeppelinApplicationConfiguration = {
            CatalogConfiguration = {
              GlueDataCatalogConfiguration = { DatabaseARN = local.database_arn }
            }
            MonitoringConfiguration = { LogLevel = "INFO" }
            # The console adds it by itself: https://docs.aws.amazon.com/managed-flink/latest/java/how-zeppelin-connectors.html
            CustomArtifactsConfiguration = [{
              ArtifactType = "DEPENDENCY_JAR"
              MavenReference = {
                GroupId    = "org.apache.flink"
                ArtifactId = "flink-sql-connector-kinesis"
                Version    = "1.15.4"
              }
            }]
          }
        }
      }
    }
    Log = {
      Type = "AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption"
      Properties = {
        ApplicationName         = { Ref = "Notebook" }
        CloudWatchLoggingOption = { LogStreamARN = local.log_stream_arn }
      }
    }
  }
}

# For people to import into Zeppelin. The notebook itself does not read the bucket.
resource "aws_s3_object" "note" {
  bucket       = var.artifact_bucket_name
  key          = local.note_key
  content      = local.note
  content_type = "application/json"
}

# A database of its own, so that its tables and the lake's stay apart.
resource "aws_glue_catalog_database" "studio" {
  name        = var.database
  description = "Tables over the streams, created by the Studio notebook."
}

resource "aws_cloudwatch_log_group" "studio" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_stream" "studio" {
  name           = local.log_stream
  log_group_name = aws_cloudwatch_log_group.studio.name
}

# AWS checks the role when it creates the notebook. A new role takes some seconds until all of AWS knows it, and a stack
# does not try again.
resource "terraform_data" "role_is_known" {
  triggers_replace = [module.role.arn, module.role.policy]

  provisioner "local-exec" {
    command = "sleep 30"
  }
}

module "role" {
  source = "../service_role"

  account_id  = var.account_id
  name        = var.name
  service     = "kinesisanalytics.amazonaws.com"
  assume_sid  = "AssumeAsStudio"
  policy_name = "studio"
  policy      = data.aws_iam_policy_document.studio.json
}

# Deployed before the role became a module: Terraform keeps what is there.
moved {
  from = aws_iam_role.studio
  to   = module.role.aws_iam_role.service
}

moved {
  from = aws_iam_role_policy.studio
  to   = module.role.aws_iam_role_policy.service
}

# https://docs.aws.amazon.com/managed-flink/latest/java/how-zeppelin-appendix-iam.html
data "aws_iam_policy_document" "studio" {
  # Stream 2 is for the chart.
  statement {
    sid       = "ReadStreams"
    actions   = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
    resources = [var.raw_stream_arn, var.alert_stream_arn]
  }

  statement {
    sid       = "WriteAlertStream"
    actions   = ["kinesis:PutRecords"]
    resources = [var.alert_stream_arn]
  }

  # Flink's catalog first lists all databases and looks for one called hive.
  statement {
    sid       = "ListDatabases"
    actions   = ["glue:GetDatabases"]
    resources = ["${local.glue_arn}:catalog", "${local.glue_arn}:database/*"]
  }

  statement {
    sid     = "FindDatabase"
    actions = ["glue:GetDatabase", "glue:GetUserDefinedFunction"]
    resources = [
      "${local.glue_arn}:catalog",
      local.database_arn,
      "${local.glue_arn}:database/hive",
      "${local.glue_arn}:userDefinedFunction/${var.database}/*",
    ]
  }

  statement {
    sid     = "WriteTables"
    actions = ["glue:CreateTable", "glue:DeleteTable", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"]
    resources = [
      "${local.glue_arn}:catalog",
      local.database_arn,
      "${local.glue_arn}:table/${var.database}/*",
    ]
  }

  # Managed Flink lists log groups to find its own.
  statement {
    sid       = "ListLogGroups"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["${local.logs_arn}:log-group:*"]
  }

  statement {
    sid       = "ListLogStreams"
    actions   = ["logs:DescribeLogStreams"]
    resources = ["${local.log_group_arn}:log-stream:*"]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:PutLogEvents"]
    resources = [local.log_stream_arn]
  }
}
