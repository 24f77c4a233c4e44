# The Studio notebook as CloudFormation gets it, and the note beside it.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id           = "123456789012"
  partition            = "aws"
  region               = "eu-central-1"
  name                 = "studio"
  database             = "studio_database"
  note                 = "../notebooks/sql-flink-ecomm-notebook-1.zpln"
  artifact_bucket_name = "artifact-bucket"
  raw_stream_name      = "raw-stream"
  raw_stream_arn       = "arn:aws:kinesis:eu-central-1:123456789012:stream/raw-stream"
  alert_stream_name    = "alert-stream"
  alert_stream_arn     = "arn:aws:kinesis:eu-central-1:123456789012:stream/alert-stream"
  log_retention_days   = 14
}

run "studio" {
  command = plan

  module {
    source = "./modules/studio"
  }

  assert {
    condition = jsonencode(jsondecode(aws_cloudformation_stack.studio.template_body).Resources.Notebook) == jsonencode({
      Type = "AWS::KinesisAnalyticsV2::Application"
      Properties = {
        ApplicationName        = "studio"
        ApplicationDescription = "Rules of the detector, to try by hand: import notebooks/sql-flink-ecomm-notebook-1.zpln of the artifact bucket."
        ApplicationMode        = "INTERACTIVE"
        RuntimeEnvironment     = "ZEPPELIN-FLINK-3_0"
        ServiceExecutionRole   = "arn:aws:iam::123456789012:role/studio"
        ApplicationConfiguration = {
          FlinkApplicationConfiguration = {
            ParallelismConfiguration = { AutoScalingEnabled = false, ConfigurationType = "CUSTOM", Parallelism = 2, ParallelismPerKPU = 1 }
          }
          ZeppelinApplicationConfiguration = {
            CatalogConfiguration = {
              GlueDataCatalogConfiguration = { DatabaseARN = "arn:aws:glue:eu-central-1:123456789012:database/studio_database" }
            }
            CustomArtifactsConfiguration = [{
              ArtifactType   = "DEPENDENCY_JAR"
              MavenReference = { ArtifactId = "flink-sql-connector-kinesis", GroupId = "org.apache.flink", Version = "1.15.4" }
            }]
            MonitoringConfiguration = { LogLevel = "INFO" }
          }
        }
      }
    })
    error_message = "Template: ${aws_cloudformation_stack.studio.template_body}"
  }

  assert {
    condition = jsonencode(jsondecode(aws_cloudformation_stack.studio.template_body).Resources.Log) == jsonencode({
      Type = "AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption"
      Properties = {
        ApplicationName = { Ref = "Notebook" }
        CloudWatchLoggingOption = {
          LogStreamARN = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/kinesis-analytics/studio:log-stream:notebook"
        }
      }
    })
    error_message = "Template: ${aws_cloudformation_stack.studio.template_body}"
  }

  assert {
    condition = (
      aws_cloudformation_stack.studio.name == "studio" && module.role.name == "studio"
      && aws_glue_catalog_database.studio.name == "studio_database"
      && aws_cloudwatch_log_group.studio.name == "/aws/kinesis-analytics/studio"
      && aws_cloudwatch_log_stream.studio.name == "notebook"
    )
    error_message = "The template refers to role, database and log by name, so the names must be these."
  }

  assert {
    condition = (
      output.note == "s3://artifact-bucket/notebooks/sql-flink-ecomm-notebook-1.zpln"
      && length(regexall("'stream' = 'raw-stream'", aws_s3_object.note.content)) == 1
      && length(regexall("'stream' = 'alert-stream'", aws_s3_object.note.content)) == 2
      && length(regexall("'stream' =", aws_s3_object.note.content)) == 3
      && length(regexall("'aws.region' = 'eu-central-1'", aws_s3_object.note.content)) == 3
      && length(regexall("us-east-1", aws_s3_object.note.content)) == 0
    )
    error_message = "The note must name the deployed streams and region."
  }

  assert {
    condition     = length(jsondecode(aws_s3_object.note.content).paragraphs) == length(jsondecode(file(var.note)).paragraphs)
    error_message = "With the deployed names the note must still be JSON."
  }

  assert {
    condition = jsonencode({
      for statement in jsondecode(module.role.policy).Statement :
      statement.Sid => { actions = sort(flatten([statement.Action])), resources = sort(flatten([statement.Resource])) }
      }) == jsonencode({
      FindDatabase = {
        actions = ["glue:GetDatabase", "glue:GetUserDefinedFunction"]
        resources = [
          "arn:aws:glue:eu-central-1:123456789012:catalog",
          "arn:aws:glue:eu-central-1:123456789012:database/hive",
          "arn:aws:glue:eu-central-1:123456789012:database/studio_database",
          "arn:aws:glue:eu-central-1:123456789012:userDefinedFunction/studio_database/*",
        ]
      }
      ListDatabases = {
        actions   = ["glue:GetDatabases"]
        resources = ["arn:aws:glue:eu-central-1:123456789012:catalog", "arn:aws:glue:eu-central-1:123456789012:database/*"]
      }
      ListLogGroups = {
        actions   = ["logs:DescribeLogGroups"]
        resources = ["arn:aws:logs:eu-central-1:123456789012:log-group:*"]
      }
      ListLogStreams = {
        actions   = ["logs:DescribeLogStreams"]
        resources = ["arn:aws:logs:eu-central-1:123456789012:log-group:/aws/kinesis-analytics/studio:log-stream:*"]
      }
      ReadStreams = {
        actions = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
        resources = [
          "arn:aws:kinesis:eu-central-1:123456789012:stream/alert-stream",
          "arn:aws:kinesis:eu-central-1:123456789012:stream/raw-stream",
        ]
      }
      WriteAlertStream = {
        actions   = ["kinesis:PutRecords"]
        resources = ["arn:aws:kinesis:eu-central-1:123456789012:stream/alert-stream"]
      }
      WriteLogs = {
        actions   = ["logs:PutLogEvents"]
        resources = ["arn:aws:logs:eu-central-1:123456789012:log-group:/aws/kinesis-analytics/studio:log-stream:notebook"]
      }
      WriteTables = {
        actions = ["glue:CreateTable", "glue:DeleteTable", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"]
        resources = [
          "arn:aws:glue:eu-central-1:123456789012:catalog",
          "arn:aws:glue:eu-central-1:123456789012:database/studio_database",
          "arn:aws:glue:eu-central-1:123456789012:table/studio_database/*",
        ]
      }
    })
    error_message = "Policy of the notebook: ${module.role.policy}"
  }

  assert {
    condition = jsonencode(jsondecode(module.role.trust).Statement) == jsonencode([{
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      Effect    = "Allow"
      Principal = { Service = "kinesisanalytics.amazonaws.com" }
      Sid       = "AssumeAsStudio"
    }])
    error_message = "Trust of the notebook: ${module.role.trust}"
  }
}

run "another_note_is_refused" {
  command = plan

  module {
    source = "./modules/studio"
  }

  variables {
    note = "tests/fixtures/package.txt"
  }

  expect_failures = [var.note]
}
